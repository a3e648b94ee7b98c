// A narrow C door to libtorch's own engine for several processes, c10d: a store that all of them reach, and a group whose members add up
// tensors. Every function returns null, or what went wrong as text that `tinyast_free` takes back.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <c10/util/Logging.h>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

C10_DECLARE_int(caffe2_log_level);

namespace {

// What goes wrong is given back as an error; c10d would print it as well, with a stack trace, unless someone has asked for it.
void keep_quiet() {
  constexpr int kFatal = 3;
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = kFatal;
}

using Milliseconds = std::chrono::milliseconds;
using StorePointer = c10::intrusive_ptr<c10d::Store>;
using GroupPointer = c10::intrusive_ptr<c10d::Backend>;
using WorkPointer = c10::intrusive_ptr<c10d::Work>;

char* copied(const char* text) {
  char* copy = static_cast<char*>(std::malloc(std::strlen(text) + 1));
  return copy == nullptr ? nullptr : std::strcpy(copy, text);
}

template <typename F>
char* guarded(F&& work) {
  try {
    work();
    return nullptr;
  } catch (const c10::Error& error) {
    return copied(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return copied(error.what());
  } catch (...) {
    return copied("an error without words");
  }
}

StorePointer& as_store(void* store) { return *static_cast<StorePointer*>(store); }
GroupPointer& as_group(void* group) { return *static_cast<GroupPointer*>(group); }
WorkPointer& as_work(void* work) { return *static_cast<WorkPointer*>(work); }

}  // namespace

extern "C" {

void tinyast_free(void* memory) { std::free(memory); }

bool tinyast_has_nccl() {
#ifdef USE_C10D_NCCL
  return true;
#else
  return false;
#endif
}

// Reaches the store at host:port, and makes it where `serves`.
char* tinyast_store_open(const char* host, uint16_t port, bool serves, int64_t timeout_ms, void** store) {
  return guarded([&] {
    keep_quiet();
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serves;
    options.waitWorkers = false;
    options.timeout = Milliseconds(timeout_ms);
    *store = new StorePointer(c10::make_intrusive<c10d::TCPStore>(host, options));
  });
}

// The same store, whose keys all begin with `prefix`.
char* tinyast_store_within(void* store, const char* prefix, void** within) {
  return guarded([&] { *within = new StorePointer(c10::make_intrusive<c10d::PrefixStore>(prefix, as_store(store))); });
}

void tinyast_store_close(void* store) { delete static_cast<StorePointer*>(store); }

char* tinyast_store_set(void* store, const char* key, const uint8_t* value, size_t length) {
  return guarded([&] { as_store(store)->set(key, std::vector<uint8_t>(value, value + length)); });
}

// Leaves `value` null where there is no such key.
char* tinyast_store_get(void* store, const char* key, uint8_t** value, size_t* length) {
  return guarded([&] {
    *value = nullptr;
    *length = 0;
    if (!as_store(store)->check({key})) return;
    const std::vector<uint8_t> found = as_store(store)->get(key);
    *value = static_cast<uint8_t*>(std::malloc(found.empty() ? 1 : found.size()));
    if (*value == nullptr) throw std::bad_alloc();
    std::copy(found.begin(), found.end(), *value);
    *length = found.size();
  });
}

char* tinyast_store_add(void* store, const char* key, int64_t amount, int64_t* sum) {
  return guarded([&] { *sum = as_store(store)->add(key, amount); });
}

// `interface` is the network interface to listen at; empty: the one that `address` belongs to.
char* tinyast_group_open(void* store, int rank, int size, bool on_gpus, const char* interface, const char* address, int64_t timeout_ms,
                         void** group) {
  return guarded([&] {
    if (on_gpus) {
#ifdef USE_C10D_NCCL
      auto options = c10d::ProcessGroupNCCL::Options::create();
      options->timeout = Milliseconds(timeout_ms);
      *group = new GroupPointer(c10::make_intrusive<c10d::ProcessGroupNCCL>(as_store(store), rank, size, options));
      return;
#else
      throw std::runtime_error("NCCL is not in this build");
#endif
    }
    auto options = c10d::ProcessGroupGloo::Options::create(Milliseconds(timeout_ms));
    options->devices.push_back(*interface != '\0' ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                                  : c10d::ProcessGroupGloo::createDeviceForHostname(address));
    *group = new GroupPointer(c10::make_intrusive<c10d::ProcessGroupGloo>(as_store(store), rank, size, options));
  });
}

// How long an operation of the group may take from now on.
char* tinyast_group_set_timeout(void* group, int64_t timeout_ms) {
  return guarded([&] { as_group(group)->setTimeout(Milliseconds(timeout_ms)); });
}

void tinyast_group_close(void* group) { delete static_cast<GroupPointer*>(group); }

// Begins to replace a tensor by the sum of all members' tensors.
char* tinyast_group_sum(void* group, at::Tensor* tensor, void** work) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{*tensor};
    *work = new WorkPointer(as_group(group)->allreduce(tensors));
  });
}

// Begins to replace a tensor by that of the member `root`.
char* tinyast_group_broadcast(void* group, at::Tensor* tensor, int root, void** work) {
  return guarded([&] {
    std::vector<at::Tensor> tensors{*tensor};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    *work = new WorkPointer(as_group(group)->broadcast(tensors, options));
  });
}

// Waits for a while, and says whether the work is done.
char* tinyast_work_wait(void* work, int64_t at_most_ms, bool* done) {
  return guarded([&] {
    try {
      as_work(work)->wait(Milliseconds(at_most_ms));
    } catch (...) {
      if (as_work(work)->isCompleted()) throw;
    }
    *done = as_work(work)->isCompleted();
  });
}

void tinyast_work_close(void* work) { delete static_cast<WorkPointer*>(work); }

}  // extern "C"
