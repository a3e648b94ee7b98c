//! Reduced precision beyond tch's, which has half precision on CUDA alone: bfloat16, whose range is that of single precision, and autocast
//! on the processor, where it can be tried without a card.

use tch::Device;

unsafe extern "C" {
    fn tinyast_autocast_takes_bfloat16(on_gpu: bool, takes: bool) -> bool;
    fn tinyast_autocast_begin(on_gpu: bool);
    fn tinyast_autocast_end(on_gpu: bool);
}

/// While it lives, autocast computes in bfloat16 on a kind of device, in the whole process: [`tch::autocast`], and so training with
/// `mixed_precision`, as well as [`autocast`].
#[derive(Debug)]
pub struct Bfloat16 {
    on_gpu: bool,
    before: bool,
}

impl Bfloat16 {
    /// Holds from now on.
    pub fn on(device: Device) -> Self {
        let on_gpu = device.is_cuda();
        // SAFETY: sets a number format, and gives whether it was that before.
        Bfloat16 { on_gpu, before: unsafe { tinyast_autocast_takes_bfloat16(on_gpu, true) } }
    }
}

impl Drop for Bfloat16 {
    fn drop(&mut self) {
        // SAFETY: as in `on`.
        unsafe { tinyast_autocast_takes_bfloat16(self.on_gpu, self.before) };
    }
}

/// Ends what began, a panic within or not.
struct Within(bool);

impl Drop for Within {
    fn drop(&mut self) {
        // SAFETY: `autocast` began it on this thread.
        unsafe { tinyast_autocast_end(self.0) }
    }
}

/// Computes on a device with matrix products in reduced precision, in the format that holds there.
pub fn autocast<T>(device: Device, work: impl FnOnce() -> T) -> T {
    let within = Within(device.is_cuda());
    // SAFETY: `within` ends it, on this thread.
    unsafe { tinyast_autocast_begin(within.0) };
    work()
}

#[cfg(test)]
mod tests {
    use tch::nn::{ModuleT, VarStore};
    use tch::{Kind, Tensor};

    use super::*;
    use crate::config::Preset;
    use crate::model::seed::with_seed;
    use crate::model::tiny_ast::TinyAst;

    #[test]
    fn products_come_in_bfloat16_within_and_as_before_after() {
        let device = Device::Cpu;
        let product = || Tensor::ones([4, 4], (Kind::Float, device)).mm(&Tensor::ones([4, 4], (Kind::Float, device)));
        let bfloat16 = Bfloat16::on(device);
        assert_eq!(autocast(device, || product().kind()), Kind::BFloat16);
        assert_eq!(product().kind(), Kind::Float);
        drop(bfloat16);
        let stopped = std::panic::catch_unwind(|| autocast(device, || panic!("within")));
        assert!(stopped.is_err() && product().kind() == Kind::Float);
    }

    #[test]
    fn tch_takes_the_format_on_a_card() {
        // SAFETY: as in `Bfloat16`.
        let takes = |takes| unsafe { tinyast_autocast_takes_bfloat16(true, takes) };
        {
            let _bfloat16 = Bfloat16::on(Device::Cuda(0));
            assert!(takes(true));
        }
        assert!(!takes(false));
    }

    #[test]
    fn a_network_in_bfloat16_says_nearly_the_same_and_learns_by_it() {
        let device = Device::Cpu;
        let _bfloat16 = Bfloat16::on(device);
        let config = Preset::Quick.model();
        let vs = VarStore::new(device);
        let model = TinyAst::new(vs.root(), &config, 10, 0).unwrap();
        let (n_mels, n_frames) = (config.input_size.0 as i64, config.input_size.1 as i64);
        let inputs = with_seed(0, || Tensor::randn([4, 1, n_mels, n_frames], (Kind::Float, device)));
        let expected = model.forward_t(&inputs, false);
        let logits = autocast(device, || model.forward_t(&inputs, false)).to_kind(Kind::Float);
        let apart = (&logits - &expected).abs().max().double_value(&[]);
        assert!(apart > 0.0 && apart < 2e-2, "{apart}");
        logits.square().mean(Kind::Float).backward();
        for (name, weight) in vs.variables() {
            let gradient = weight.grad();
            assert!(gradient.defined() && gradient.isfinite().all().double_value(&[]) > 0.0, "{name}");
        }
    }
}
