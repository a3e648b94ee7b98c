//! With the feature `distributed`: compiles the C++ that reaches libtorch's engine for several processes, and its autocast.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The notebook builds a program beside it, for the machine it was built for.
    println!("cargo::rustc-env=BUILT_FOR={}", std::env::var("TARGET").unwrap_or_default());
    #[cfg(feature = "distributed")]
    cpp();
}

#[cfg(feature = "distributed")]
fn cpp() {
    use std::env;
    use std::path::PathBuf;

    for variable in ["LIBTORCH", "LIBTORCH_INCLUDE", "NCCL_INCLUDE"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    println!("cargo::rerun-if-changed=src/distributed/c10d");
    println!("cargo::rerun-if-changed=src/training/autocast.cpp");
    let Some(libtorch) = env::var_os("LIBTORCH_INCLUDE").or_else(|| env::var_os("LIBTORCH")).map(PathBuf::from) else {
        panic!(
            "the feature `distributed` needs LIBTORCH, the folder of libtorch: `. .tools/env.sh` sets the one of `make setup`"
        );
    };
    let include = libtorch.join("include");
    let header = include.join("torch/csrc/distributed/c10d/ProcessGroupGloo.hpp");
    assert!(
        header.is_file(),
        "{} is not there: this libtorch came without its engine for several processes",
        header.display()
    );
    let mut build = cc::Build::new();
    build.cpp(true).std("c++20").opt_level(1).warnings(false).define("USE_C10D_GLOO", None);
    build.include("src/distributed/c10d").include(&include).include(include.join("torch/csrc/api/include"));
    // NCCL's headers and those of CUDA do not come with libtorch: folders, as in PATH.
    if let Some(folders) = env::var_os("NCCL_INCLUDE") {
        env::split_paths(&folders).for_each(|folder| _ = build.include(folder));
        build.define("USE_C10D_NCCL", None);
    }
    build.file("src/distributed/c10d/c10d.cpp").file("src/training/autocast.cpp").compile("tinyast_libtorch");
    if env::var_os("NCCL_INCLUDE").is_some() {
        println!("cargo::rustc-link-lib=torch_cuda");
    }
}
