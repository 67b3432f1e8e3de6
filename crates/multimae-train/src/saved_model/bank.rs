//! Several adapters on one backbone.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor};
use multimae::encoder::Phase;
use multimae::input_adapters::ModalityTensor;
use multimae::multivit::MultiVitConfig;
use multimae::output_adapters::Prediction;
use multimae::state::{Allowed, update};
use multimae::tokens::Inputs;
use multimae::tuned::{TunedMultiVit, forward_together};
use multimae::tuning::ParameterKind;
use multimae_data::Sample;

use super::{Adapter, Backbone, Output, SavedModel};
use crate::pretrained::load_pretrained;
use crate::{Error, Result};

/// A backbone and adapters by name. The adapters share the backbone's weights: another one costs
/// its own size, with those of the backbone's tensors that it changes.
#[derive(Debug)]
pub struct AdapterBank {
    source: PathBuf,
    device: Device,
    adapters: IndexMap<String, Entry>,
    /// The backbone as the file has it, once per way in which models use it.
    backbones: Vec<Shared>,
}

/// A backbone's weights in the memory that models share.
#[derive(Debug)]
struct Shared {
    backbone: Backbone,
    like: MultiVitConfig,
    tensors: IndexMap<String, Tensor<1>>,
}

impl Shared {
    /// Whether an adapter's model has these tensors: position tables depend on the size.
    fn is_that_of(&self, adapter: &Adapter) -> bool {
        let (own, other) = (&self.like, &adapter.card.model);
        self.backbone == adapter.backbone
            && (&own.encoder, &own.inputs, own.image_size, own.tables)
                == (&other.encoder, &other.inputs, other.image_size, other.tables)
    }
}

#[derive(Debug)]
struct Entry {
    saved: SavedModel,
    backbone: Backbone,
    keeps_backbone: bool,
}

impl AdapterBank {
    /// A bank without adapters on the backbone of a file or a run's folder.
    #[must_use]
    pub fn new(source: &Path, device: Device) -> Self {
        Self { source: source.to_owned(), device, adapters: IndexMap::new(), backbones: Vec::new() }
    }

    /// The names of the adapters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.adapters.keys().map(String::as_str)
    }

    /// The model of an adapter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&SavedModel> {
        self.adapters.get(name).map(|entry| &entry.saved)
    }

    /// Adds an adapter, in place of one of the same name.
    ///
    /// # Errors
    /// If it cannot be read, or is for another backbone; the bank is as it was then.
    pub fn add(&mut self, name: &str, path: &Path) -> Result<()> {
        let adapter = Adapter::load(path)?;
        let model = self.on_backbone(&adapter)?;
        let entry = Entry {
            keeps_backbone: adapter.keeps_backbone(),
            saved: adapter.saved(adapter.load_into(model)?),
            backbone: adapter.backbone,
        };
        self.adapters.insert(name.to_owned(), entry);
        Ok(())
    }

    /// Takes an adapter out. `false` if there is none of the name.
    pub fn remove(&mut self, name: &str) -> bool {
        self.adapters.shift_remove(name).is_some()
    }

    /// The adapter's model with the weights of the backbone, which are read once.
    fn on_backbone(&mut self, adapter: &Adapter) -> Result<TunedMultiVit> {
        let (card, device) = (&adapter.card, &self.device);
        let model = TunedMultiVit::new(&card.model, &card.additions, device)?;
        if let Some(shared) = self.backbones.iter().find(|shared| shared.is_that_of(adapter)) {
            return Ok(update(model, |name, _| shared.tensors.get(name).cloned()));
        }
        let fresh = Allowed { missing: adapter.backbone.fresh.clone(), ..Allowed::default() };
        let source = self.source.to_string_lossy();
        let (model, report) = load_pretrained(model, &source, &fresh)?;
        adapter.check_backbone(&report.backbone, &report.path)?;
        let (backbone, like) = (adapter.backbone.clone(), card.model.clone());
        self.backbones.push(Shared { backbone, like, tensors: flat_backbone(&model) });
        Ok(model)
    }

    /// Predicts samples of one size, each with the adapter that is named beside it. Samples whose
    /// adapters leave the backbone as it is and have prompts of the same kind and size go through
    /// the encoder together.
    ///
    /// # Errors
    /// If there is no such adapter, or samples do not fit theirs.
    pub fn predict(&self, samples: &[(&str, Sample)]) -> Result<Vec<IndexMap<String, Output>>> {
        let mut outputs: Vec<Option<IndexMap<String, Output>>> =
            samples.iter().map(|_| None).collect();
        for group in self.groups(samples)? {
            let places: Vec<usize> = group.iter().flat_map(|(_, places)| places.clone()).collect();
            for (place, output) in places.into_iter().zip(self.pass(&group, samples)?) {
                outputs[place] = Some(output);
            }
        }
        Ok(outputs.into_iter().flatten().collect())
    }

    /// Adapters with the places of their samples, in groups that share a pass.
    fn groups(&self, samples: &[(&str, Sample)]) -> Result<Vec<Group<'_>>> {
        let mut by_adapter: IndexMap<&str, Vec<usize>> = IndexMap::new();
        for (place, (name, _)) in samples.iter().enumerate() {
            by_adapter.entry(name).or_default().push(place);
        }
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (name, places) in by_adapter {
            let entry = self.adapters.get(name).ok_or_else(|| {
                Error::Evaluation(format!(
                    "there is no adapter `{name}`; there are {}",
                    self.names().collect::<Vec<_>>().join(", ")
                ))
            })?;
            let fits = |group: &&mut Group<'_>| group.iter().all(|(other, _)| shares(entry, other));
            match groups.iter_mut().find(fits) {
                Some(group) => group.push((entry, places)),
                None => groups.push(vec![(entry, places)]),
            }
        }
        Ok(groups)
    }

    /// The outputs of a group's samples in its order.
    fn pass(
        &self,
        group: &Group<'_>,
        samples: &[(&str, Sample)],
    ) -> Result<Vec<IndexMap<String, Output>>> {
        let batches = group.iter().map(|(entry, places)| {
            let own: Vec<Sample> = places.iter().map(|&place| samples[place].1.clone()).collect();
            entry.saved.card.inputs(&own, &self.device)
        });
        let inputs = one_behind_the_other(batches.collect::<Result<_>>()?)?;
        let models: Vec<(&TunedMultiVit, usize)> =
            group.iter().map(|(entry, places)| (&entry.saved.model, places.len())).collect();
        let predictions = forward_together(&models, inputs, &mut Phase::Evaluation)?;
        let mut outputs = Vec::new();
        for ((entry, places), predictions) in group.iter().zip(predictions) {
            for index in 0..places.len() {
                let own = predictions.iter().map(|(task, p)| (task.clone(), of_sample(p, index)));
                outputs.push(entry.saved.card.outputs(own.collect())?);
            }
        }
        Ok(outputs)
    }
}

/// Adapters that share a pass, and the places of their samples.
type Group<'a> = Vec<(&'a Entry, Vec<usize>)>;

fn shares(one: &Entry, other: &Entry) -> bool {
    let inputs = |entry: &Entry| {
        let card = &entry.saved.card;
        (card.model.encoder.clone(), card.model.inputs.clone(), card.geometry)
    };
    std::ptr::eq(one, other)
        || (one.keeps_backbone
            && other.keeps_backbone
            && one.backbone == other.backbone
            && inputs(one) == inputs(other)
            && one.saved.model.shares_passes_with(&other.saved.model))
}

/// The backbone's parameters, flattened, in the memory of the model.
fn flat_backbone(model: &TunedMultiVit) -> IndexMap<String, Tensor<1>> {
    let mut all = IndexMap::new();
    let _same = update(model.clone(), |name, value| {
        if ParameterKind::of(name) == ParameterKind::Backbone {
            all.insert(name.to_owned(), value);
        }
        None
    });
    all
}

/// The inputs of batches as those of one.
fn one_behind_the_other(batches: Vec<Inputs>) -> Result<Inputs> {
    let mut all: IndexMap<String, Vec<ModalityTensor>> = IndexMap::new();
    let count = batches.len();
    for (name, input) in batches.into_iter().flatten() {
        all.entry(name).or_default().push(input);
    }
    all.into_iter()
        .map(|(name, inputs)| {
            if inputs.len() != count {
                return Err(Error::Evaluation(format!(
                    "some samples have no `{name}`, others have"
                )));
            }
            Ok((name, ModalityTensor::cat(inputs)?))
        })
        .collect()
}

fn of_sample(prediction: &Prediction, index: usize) -> Prediction {
    match prediction {
        Prediction::Maps(maps) => Prediction::Maps(maps.clone().narrow(0, index, 1)),
        Prediction::Classes(logits) => Prediction::Classes(logits.clone().narrow(0, index, 1)),
    }
}

#[cfg(test)]
mod tests {
    use multimae::nn::LoraConfig;
    use multimae::state::{StateDict, state_dict};
    use multimae::tuned::Additions;
    use multimae::weights::write_safetensors;
    use multimae_data::{Values, stream};

    use super::super::tests::{card, samples};
    use super::*;

    fn device() -> Device {
        Device::default()
    }

    fn additions(text: serde_json::Value) -> Additions {
        serde_json::from_value(text).unwrap()
    }

    /// A tuned model whose backbone is drawn with `seed` and whose other parameters are far from
    /// where they begin.
    fn tuned(additions: &Additions, seed: u64, own: u64) -> SavedModel {
        let mut card = card();
        card.additions = additions.clone();
        let model = TunedMultiVit::new(&card.model, &card.additions, &device()).unwrap();
        let model = multimae::init::initialise(model, |name| match ParameterKind::of(name) {
            ParameterKind::Backbone => stream(seed, name, 0, 0),
            _ => stream(own, name, 0, 0),
        });
        let model = update(model, |name, value| {
            let [len] = value.dims();
            let shift: Vec<f32> = (0..len).map(|i| ((i as f32) + own as f32).sin() * 0.2).collect();
            ParameterKind::of(name)
                .is_addition()
                .then(|| value.clone() + Tensor::from_floats(shift.as_slice(), &value.device()))
        });
        SavedModel { model, card, notes: IndexMap::new() }
    }

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(format!("{name}.safetensors"))
        }

        fn backbone(&self, name: &str, saved: &SavedModel) -> PathBuf {
            let mut weights: StateDict = state_dict(&saved.model);
            weights.retain(|name, _| ParameterKind::of(name) == ParameterKind::Backbone);
            let bytes = write_safetensors(&weights, &IndexMap::new()).unwrap();
            fs_err::write(self.path(name), bytes).unwrap();
            self.path(name)
        }

        fn adapter(&self, name: &str, saved: &SavedModel, tuning: &str) -> PathBuf {
            let backbone = Backbone::of(&saved.model, &[]);
            Adapter::of(saved, &tuning.parse().unwrap(), backbone).save(&self.path(name)).unwrap();
            self.path(name)
        }
    }

    /// Samples that differ.
    fn frames(count: usize) -> Vec<Sample> {
        let sample = |index: usize| {
            let mut sample = samples().remove(0);
            sample.id = index.to_string();
            for map in sample.maps.values_mut() {
                let Values::Continuous { data, .. } = &mut map.values else { panic!() };
                data.iter_mut()
                    .enumerate()
                    .for_each(|(i, v)| *v += ((i * (index + 1)) as f32).sin());
            }
            sample
        };
        (0..count).map(sample).collect()
    }

    fn values(output: &IndexMap<String, Output>) -> Vec<f32> {
        let one = |output: &Output| match output.clone() {
            Output::Depth(maps) | Output::Labels(maps) | Output::Values(maps) => {
                maps.into_data().iter::<f32>().collect::<Vec<f32>>()
            }
            Output::Classes(logits) => logits.into_data().iter().collect(),
        };
        output.values().flat_map(one).collect()
    }

    #[test]
    fn adapters_together_give_what_each_gives_alone() {
        let files = Files::new();
        let deep = additions(serde_json::json!({"prompts": {"kind": "deep", "count": 2}}));
        let prefix = additions(serde_json::json!({"prompts": {"kind": "prefix", "count": 3}}));
        let branched = Additions { branch_at: Some(1), ..deep.clone() };
        let lora = Additions { lora: Some(LoraConfig::default()), ..Additions::default() };
        let norms = Additions { entry_norms: true, ..Additions::default() };
        let kinds = [
            ("a", &deep, "prompts"),
            ("b", &deep, "prompts"),
            ("c", &prefix, "prompts"),
            ("d", &branched, "prompts"),
            ("e", &branched, "prompts"),
            ("f", &lora, "lora"),
            ("g", &norms, "head"),
            ("h", &Additions::default(), "norm"),
        ];
        let backbone = files.backbone("backbone", &tuned(&Additions::default(), 1, 0));
        let mut bank = AdapterBank::new(&backbone, device());
        for (index, (name, additions, tuning)) in kinds.iter().enumerate() {
            let saved = tuned(additions, 1, 10 + index as u64);
            bank.add(name, &files.adapter(name, &saved, tuning)).unwrap();
        }
        let names = ["a", "b", "f", "a", "c", "d", "e", "g", "h", "b", "d"];
        let batch: Vec<(&str, Sample)> = names.into_iter().zip(frames(11)).collect();
        // Of one pass: a with b, d with e; c, f, g, h alone.
        assert_eq!(bank.groups(&batch).unwrap().len(), 6);
        let together = bank.predict(&batch).unwrap();
        assert_eq!(together.len(), batch.len());
        for ((name, sample), together) in batch.iter().zip(&together) {
            let index = kinds.iter().position(|(kind, ..)| kind == name).unwrap();
            let saved = tuned(kinds[index].1, 1, 10 + index as u64);
            let inputs = saved.card.inputs(std::slice::from_ref(sample), &device()).unwrap();
            let alone = values(&saved.predict(inputs).unwrap());
            let worst = alone
                .iter()
                .zip(values(together))
                .map(|(a, b)| (a - b).abs())
                .fold(0.0_f32, f32::max);
            assert!(worst < 1e-5, "{name}: {worst}");
        }
        assert!(bank.remove("a") && !bank.remove("a"));
        let error = bank.predict(&batch).unwrap_err().to_string();
        assert!(error.contains("no adapter `a`"), "{error}");
    }

    #[test]
    fn an_adapter_that_does_not_belong_here_is_refused() {
        let files = Files::new();
        let deep = additions(serde_json::json!({"prompts": {"kind": "deep", "count": 2}}));
        let backbone = files.backbone("backbone", &tuned(&Additions::default(), 1, 0));
        let other = files.backbone("other", &tuned(&Additions::default(), 2, 0));
        let saved = tuned(&deep, 1, 3);
        let path = files.adapter("adapter", &saved, "prompts");
        let mut bank = AdapterBank::new(&other, device());
        let error = bank.add("a", &path).unwrap_err().to_string();
        assert!(error.contains("not the backbone of this adapter"), "{error}");
        assert_eq!(bank.names().count(), 0);
        let mut bank = AdapterBank::new(&backbone, device());
        bank.add("a", &path).unwrap();
        // Without a head, with another number of classes, with another prompt.
        let refused = |change: &dyn Fn(&mut Adapter)| {
            let mut adapter = Adapter::load(&path).unwrap();
            change(&mut adapter);
            adapter.save(&files.path("broken")).unwrap();
            Adapter::load(&files.path("broken")).unwrap_err().to_string()
        };
        let error = refused(&|adapter| {
            adapter.tensors.retain(|name, _| !name.starts_with("output_adapters.semseg."));
        });
        assert!(error.contains("missing `output_adapters.semseg."), "{error}");
        let error = refused(&|adapter| {
            let task = adapter.card.tasks.get_mut("semseg").unwrap();
            let super::super::TaskKind::Labels { classes, .. } = &mut task.kind else { panic!() };
            classes.truncate(1);
        });
        assert!(error.contains("1 classes"), "{error}");
        let error = refused(&|adapter| {
            adapter.tensors.shift_remove("prompts.tokens");
        });
        assert!(error.contains("missing `prompts.tokens`"), "{error}");
        let error = refused(&|adapter| {
            let data = adapter.tensors["prompts.tokens"].clone();
            adapter.tensors.insert("prompts.gate".to_owned(), data);
        });
        assert!(error.contains("unexpected `prompts.gate`"), "{error}");
        let model = SavedModel::load(&path, &device()).unwrap_err().to_string();
        assert!(model.contains("--adapter"), "{model}");
        let none = Adapter::load(&backbone).unwrap_err().to_string();
        assert!(none.contains("no adapter"), "{none}");
    }

    #[test]
    fn adapters_share_the_memory_of_their_backbone() {
        let files = Files::new();
        let deep = additions(serde_json::json!({"prompts": {"kind": "deep", "count": 2}}));
        let backbone = files.backbone("backbone", &tuned(&Additions::default(), 1, 0));
        let mut bank = AdapterBank::new(&backbone, device());
        for name in ["a", "b"] {
            bank.add(name, &files.adapter(name, &tuned(&deep, 1, 5), "prompts")).unwrap();
        }
        // With the file gone, a further adapter still finds its backbone.
        fs_err::remove_file(&backbone).unwrap();
        bank.add("c", &files.adapter("c", &tuned(&deep, 1, 6), "prompts")).unwrap();
        // One that changes the norms has the rest in common.
        let saved = tuned(&Additions::default(), 1, 7);
        bank.add("d", &files.adapter("d", &saved, "norm")).unwrap();
        assert_eq!(bank.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(bank.backbones.len(), 1);
    }
}
