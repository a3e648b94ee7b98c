//! How long it takes to add up tensors of all processes: `bench_together NUMBERS ROUNDS`, started as `train` is. Process 0 prints the median.

use std::time::Instant;

use audio_transformer::config::DeviceChoice;
use audio_transformer::{Group, Peers, Place, Result};
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// Rounds before the clock runs.
const WARM_UP: usize = 5;

fn main() -> Result<()> {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let (Some(place), &[n, rounds]) = (Place::from_env()?, arguments.as_slice()) else {
        eprintln!("usage: RANK=.. WORLD_SIZE=.. MASTER_ADDR=.. MASTER_PORT=.. bench_together NUMBERS ROUNDS");
        std::process::exit(2);
    };
    let group = Group::join(place, DeviceChoice::Cpu)?;
    let numbers = Tensor::ones([n as i64], (Kind::Float, Device::Cpu));
    let mut seconds = Vec::with_capacity(rounds);
    for round in 0..WARM_UP + rounds {
        let begun = Instant::now();
        group.sum(&numbers)?;
        if round >= WARM_UP {
            seconds.push(begun.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    if group.rank() == 0 {
        println!("{}", json!({ "seconds": seconds[rounds / 2], "size": group.size() }));
    }
    Ok(())
}
