//! What a published network makes of a recording of any length, as it is read.

use std::path::Path;

use tch::{Kind, Tensor};

use crate::dataset::measure::{Loudness, SILENCE_DBFS};
use crate::error::{Error, Result};
use crate::front_end::audio::{self, Listen, Waveform};
use crate::front_end::features::FeatureExtractor;
use crate::front_end::resample::Running;
use crate::model::pretrained::{End, Heard, Hearing, Pretrained};
use crate::results::predict::{Prediction, Standing, Window};

/// Samples of a recording in memory that are taken at a time.
const BLOCK_LEN: usize = 1 << 20;

/// Hears a recording block by block: it holds some pieces of it and all that was made of each.
pub(super) struct Ear<'a> {
    network: &'a mut Pretrained,
    resampler: &'a mut FeatureExtractor,
    /// The loudest power, where the recording is heard once more.
    loudest: Option<f32>,
    /// Is told how much of a file was read, 0 to 1, and whether to go on.
    go_on: Option<&'a mut dyn FnMut(f64) -> bool>,
    stopped: bool,
    /// How many samples to hear at most: those of the reading that was stopped, where they have to come once more.
    most: u64,
    /// Nothing before the recording begins.
    under_way: Option<UnderWay>,
}

struct UnderWay {
    sample_rate: u32,
    n_samples: u64,
    loudness: Loudness,
    resampling: Running,
    resampled: Vec<f32>,
    hearing: Hearing,
}

/// A recording that was heard.
pub(super) struct Sound {
    heard: Heard,
    duration_s: f64,
    loudest_dbfs: f64,
}

impl<'a> Ear<'a> {
    pub fn new(network: &'a mut Pretrained, resampler: &'a mut FeatureExtractor) -> Self {
        Ear { network, resampler, loudest: None, go_on: None, stopped: false, most: u64::MAX, under_way: None }
    }

    /// Hears a recording in memory.
    ///
    /// # Errors
    /// [`Error::Signal`] for samples that are no sound, [`Error::Torch`] when the network cannot run.
    pub fn waveform(mut self, waveform: &Waveform) -> Result<Sound> {
        let samples = waveform.without_offset();
        loop {
            self.begin(waveform.sample_rate)?;
            samples.chunks(BLOCK_LEN).try_for_each(|block| self.take(block))?;
            if let Some(sound) = self.finish()? {
                return Ok(sound);
            }
        }
    }

    /// Hears a file, as long as it is told to go on; and whether that was to its end.
    ///
    /// # Errors
    /// As [`audio::stream`] and [`Ear::waveform`].
    pub fn file(mut self, path: &Path, go_on: &'a mut dyn FnMut(f64) -> bool) -> Result<(Sound, bool)> {
        self.go_on = Some(go_on);
        loop {
            match audio::stream(path, &mut self) {
                Err(_) if self.stopped => {}
                read => read?,
            }
            if let Some(sound) = self.finish()? {
                return Ok((sound, !self.stopped));
            }
        }
    }

    /// `None` where the recording has to come once more.
    fn finish(&mut self) -> Result<Option<Sound>> {
        let Some(UnderWay { sample_rate, n_samples, loudness, resampling, mut resampled, mut hearing }) =
            self.under_way.take()
        else {
            return Err(Error::Signal { expected: "a recording".into(), found: "none that began".into() });
        };
        resampled.clear();
        let resampler = resampling.finish(&mut resampled)?;
        self.resampler.take_back(sample_rate, resampler);
        hearing.take(self.network, &resampled)?;
        let duration_s = n_samples as f64 / f64::from(sample_rate);
        Ok(match hearing.finish(self.network)? {
            End::Heard(heard) => Some(Sound { heard, duration_s, loudest_dbfs: loudness.loudest_dbfs() }),
            End::Again(power) => {
                self.loudest = Some(power);
                // What was heard until then is told, and nobody is asked a second time.
                self.most = if self.stopped { n_samples } else { u64::MAX };
                None
            }
        })
    }
}

impl Listen for Ear<'_> {
    fn begin(&mut self, sample_rate: u32) -> Result<()> {
        let resampling = Running::new(self.resampler.lend_resampler(sample_rate)?);
        let hearing = Hearing::new(self.network, self.loudest);
        let (loudness, resampled) = (Loudness::new(sample_rate), Vec::new());
        self.under_way = Some(UnderWay { sample_rate, n_samples: 0, loudness, resampling, resampled, hearing });
        Ok(())
    }

    fn take(&mut self, samples: &[f32]) -> Result<()> {
        let Some(UnderWay { n_samples, loudness, resampling, resampled, hearing, .. }) = &mut self.under_way else {
            return Ok(());
        };
        *n_samples += samples.len() as u64;
        loudness.take(samples);
        resampled.clear();
        resampling.take(samples, resampled)?;
        hearing.take(self.network, resampled)
    }

    fn follow(&mut self, share: f64) -> Result<()> {
        let heard = self.under_way.as_ref().map_or(0, |under_way| under_way.n_samples);
        let goes_on = match self.stopped {
            true => heard < self.most,
            false => self.go_on.as_mut().is_none_or(|go_on| go_on(share)),
        };
        if goes_on {
            return Ok(());
        }
        self.stopped = true;
        Err(Error::Signal { expected: "somebody to listen".into(), found: "nobody any more".into() })
    }
}

impl Sound {
    /// Which of its pieces sound.
    fn sounds(&self) -> Vec<bool> {
        self.heard.loudest_dbfs.iter().map(|level| *level > SILENCE_DBFS).collect()
    }

    /// What the last layer sees of it: the mean over those of its pieces that are not silent.
    pub fn embedding(&self, network: &Pretrained) -> Result<Vec<f32>> {
        let values = network.head_input(&self.heard.embedding_where(&self.sounds()));
        Vec::try_from(values.flatten(0, -1)).map_err(|source| Error::Torch { action: "reading an embedding", source })
    }

    /// What the network thinks of it.
    pub fn prediction(self, network: &Pretrained, path: &Path) -> Result<Prediction> {
        let rows = |probabilities: Tensor| {
            let rows = Vec::<Vec<f32>>::try_from(probabilities.to_kind(Kind::Float));
            rows.map_err(|source| Error::Torch { action: "reading probabilities", source })
        };
        let sounds = self.sounds();
        let Sound { heard, duration_s, loudest_dbfs } = self;
        let whole: Vec<f32> =
            rows(network.probabilities(&heard.embedding_where(&sounds)))?.into_iter().flatten().collect();
        let mut order: Vec<usize> = (0..whole.len()).collect();
        order.sort_by(|&a, &b| whole[b].total_cmp(&whole[a]));
        let pieces = heard.pieces.iter().zip(&sounds).zip(rows(network.probabilities(&heard.embeddings))?);
        let timeline: Vec<Window> = pieces
            .map(|((&(start_s, end_s), &sounds), own)| {
                let probabilities = order.iter().map(|&class| own[class]).collect();
                Window { start_s, end_s: end_s.min(duration_s), probabilities, standing: standing(sounds) }
            })
            .collect();
        let ranked = order.iter().map(|&class| (network.labels()[class].clone(), whole[class])).collect();
        let (standing, windows) = (standing(loudest_dbfs > SILENCE_DBFS), timeline.len());
        Ok(Prediction { path: path.into(), duration_s, windows, ranked, timeline, standing })
    }
}

/// How a sound stands with a network that knows no recordings to compare with.
fn standing(sounds: bool) -> Standing {
    if sounds { Standing::Unknown } else { Standing::Silent }
}
