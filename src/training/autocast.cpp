// A narrow C door to what tch's autocast leaves out: the number format that a device computes in, and autocast on the processor.

#include <ATen/autocast_mode.h>

namespace {

c10::DeviceType device(bool on_gpu) { return on_gpu ? c10::DeviceType::CUDA : c10::DeviceType::CPU; }

}  // namespace

extern "C" {

// bfloat16 from now on, or half precision; gives what stood before.
bool tinyast_autocast_takes_bfloat16(bool on_gpu, bool takes) {
  const bool before = at::autocast::get_autocast_dtype(device(on_gpu)) == at::kBFloat16;
  at::autocast::set_autocast_dtype(device(on_gpu), takes ? at::kBFloat16 : at::kHalf);
  return before;
}

// On this thread.
void tinyast_autocast_begin(bool on_gpu) {
  at::autocast::set_autocast_enabled(device(on_gpu), true);
  at::autocast::increment_nesting();
}

void tinyast_autocast_end(bool on_gpu) {
  // Weights that were cast are kept for the whole of an outermost pass.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device(on_gpu), false);
}
}
