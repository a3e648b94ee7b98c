//! Steps of the optimisers against PyTorch's: the same gradients move matrices as `torch.optim.Muon` does, vectors as `torch.optim.AdamW`.
//! `tests/golden/optimizer/make_golden.py` wrote the file.
#![cfg(feature = "torch")]

use std::path::Path;

use audio_transformer::config::OptimizerChoice;
use audio_transformer::internals::training::flat_weights::FlatWeights;
use audio_transformer::internals::training::optim::Optimizer;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

const N_STEPS: usize = 6;
const LEARNING_RATE: f64 = 0.01;
const WEIGHT_DECAY: f64 = 0.05;

#[test]
fn the_same_gradients_move_weights_as_in_pytorch() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/optimizer/muon.safetensors");
    let golden = Tensor::read_safetensors(file).unwrap();
    let named = |name: &str| golden.iter().find(|(own, _)| own == name).unwrap().1.shallow_clone();
    // A vector is what no optimiser of matrices takes, by its name as by its shape.
    let names = [("wide", "weight"), ("tall", "weight"), ("square", "weight"), ("vector", "bias")];
    let after = |choice: OptimizerChoice| {
        let vs = VarStore::new(Device::Cpu);
        let variables: Vec<Tensor> = names
            .iter()
            .map(|(name, kind)| (vs.root() / *name).var_copy(kind, &named(&format!("{name}.start"))))
            .collect();
        let mut weights = FlatWeights::new(&vs).unwrap();
        let mut optimizer = Optimizer::new(&weights, choice, WEIGHT_DECAY);
        for step in 0..N_STEPS {
            // A loss whose gradient is the golden one.
            let losses = names
                .iter()
                .zip(&variables)
                .map(|((name, _), variable)| (variable * named(&format!("{name}.gradient.{step}"))).sum(Kind::Float));
            let loss = losses.reduce(|sum, loss| sum + loss).unwrap();
            let gradient = weights.gradient(&loss).unwrap();
            optimizer.step(&mut weights, &gradient, LEARNING_RATE);
        }
        let apart = |(name, variable): (&str, &Tensor)| {
            (variable - named(&format!("{name}.end"))).abs().max().double_value(&[])
        };
        names.map(|(name, _)| name).into_iter().zip(&variables).map(apart).collect::<Vec<f64>>()
    };
    let muon = after(OptimizerChoice::Muon);
    assert!(muon.iter().all(|apart| *apart < 1e-5), "{muon:?}");
    let adamw = after(OptimizerChoice::AdamW);
    assert!(adamw[3] < 1e-5 && adamw[..3].iter().all(|apart| *apart > 1e-2), "{adamw:?}");
}
