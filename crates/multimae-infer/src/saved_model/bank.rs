//! Several adapters on one backbone.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use multimae::burn::tensor::{Device, Tensor};
use multimae::encoder::Phase;
use multimae::multivit::MultiVitConfig;
use multimae::output_adapters::Prediction;
use multimae::peft::{PeftModel, forward_batched};
use multimae::state::{AllowedKeys, update};
use multimae::tuning::ParameterKind;
use multimae_data::Sample;
use multimae_kernels::precision::Precision;

use super::adapter::ENCODER;
use super::{Adapter, Backbone, ModelCard, SavedModel};
use crate::saved_model::load_pretrained;
use crate::{Error, Result};

/// A backbone and adapters by name. The adapters share the backbone's weights: another one costs
/// its own size, with those of the backbone's tensors that it changes.
#[derive(Debug)]
pub struct AdapterBank {
    source: PathBuf,
    device: Device,
    precision: Precision,
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
    /// That of `saved`, for other threads.
    card: Arc<ModelCard>,
    keeps_linear_weights: bool,
}

impl AdapterBank {
    /// A bank without adapters on the backbone of a file or a run's folder.
    #[must_use]
    pub fn new(source: &Path, device: Device) -> Self {
        Self {
            source: source.to_owned(),
            device,
            precision: Precision::default(),
            adapters: IndexMap::new(),
            backbones: Vec::new(),
        }
    }

    /// The same bank with predictions in another precision than 32 bits, which its device must
    /// [have](Precision::check).
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self.adapters.values_mut().for_each(|entry| entry.saved.precision = precision);
        self
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

    /// The card of an adapter.
    #[must_use]
    pub fn card(&self, name: &str) -> Option<&Arc<ModelCard>> {
        self.adapters.get(name).map(|entry| &entry.card)
    }

    /// Adds an adapter, in place of one of the same name.
    ///
    /// # Errors
    /// If it cannot be read, or is for another backbone; the bank is as it was then.
    pub fn add(&mut self, name: &str, path: &Path) -> Result<()> {
        let adapter = Adapter::load(path)?;
        let model = self.on_backbone(&adapter)?;
        let entry = Entry {
            card: Arc::new(adapter.card.clone()),
            keeps_linear_weights: adapter.keeps_linear_weights(),
            saved: adapter.saved(adapter.load_into(model)?).with_precision(self.precision),
        };
        self.adapters.insert(name.to_owned(), entry);
        Ok(())
    }

    /// Takes an adapter out. `false` if there is none of the name.
    pub fn remove(&mut self, name: &str) -> bool {
        self.adapters.shift_remove(name).is_some()
    }

    /// The adapter's model with the weights of the backbone, which are read once.
    fn on_backbone(&mut self, adapter: &Adapter) -> Result<PeftModel> {
        let (card, device) = (&adapter.card, &self.device);
        let model = PeftModel::new(&card.model, &card.peft, device)?;
        if let Some(shared) = self.backbones.iter().find(|shared| shared.is_that_of(adapter)) {
            return Ok(update(model, |name, _| shared.tensors.get(name).cloned()));
        }
        let fresh =
            AllowedKeys { missing: adapter.backbone.fresh.clone(), ..AllowedKeys::default() };
        let source = self.source.to_string_lossy();
        let (model, report) = load_pretrained(model, &source, &fresh)?;
        adapter.check_backbone(&report.backbone, &report.path)?;
        // Blocks are the same whatever the inputs.
        let blocks = self.backbones.iter().find(|shared| shared.like.encoder == card.model.encoder);
        let model = update(model, |name, _| {
            let shared = blocks.filter(|_| name.starts_with(ENCODER))?;
            shared.tensors.get(name).cloned()
        });
        let (backbone, like) = (adapter.backbone.clone(), card.model.clone());
        self.backbones.push(Shared { backbone, like, tensors: flat_backbone(&model) });
        Ok(model)
    }

    /// Predicts samples of any sizes, each with the adapter that is named beside it. Samples whose
    /// adapters leave the linear layers of the backbone as they are go through the encoder together.
    ///
    /// # Errors
    /// If there is no such adapter, or samples do not fit theirs.
    pub fn predict(&self, samples: &[(&str, Sample)]) -> Result<Vec<IndexMap<String, Prediction>>> {
        let (mut cards, mut prepared) = (Vec::new(), Vec::new());
        for (name, sample) in samples {
            let card = self.card(name).ok_or_else(|| self.unknown(name))?;
            prepared.push((*name, card.prepared(sample)));
            cards.push(card);
        }
        let predictions = self.forward(&prepared)?;
        cards.iter().zip(predictions).map(|(card, own)| card.outputs(own)).collect()
    }

    /// The outputs of the heads for [prepared](ModelCard::prepared) samples, each with the adapter that is
    /// named beside it; passes are shared as in [`Self::predict`].
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn forward<S: Borrow<Sample>>(
        &self,
        prepared: &[(&str, S)],
    ) -> Result<Vec<IndexMap<String, Prediction>>> {
        let mut outputs: Vec<Option<IndexMap<String, Prediction>>> =
            prepared.iter().map(|_| None).collect();
        for pass in self.passes(prepared)? {
            let batches = pass.iter().map(|(entry, places)| {
                let own: Vec<&Sample> =
                    places.iter().map(|&place| prepared[place].1.borrow()).collect();
                Ok((&entry.saved.model, entry.card.stacked(&own, &self.device)?))
            });
            let batches = batches.collect::<Result<_>>()?;
            let forward = || forward_batched(batches, &mut Phase::Evaluation);
            let predictions = self.precision.scope(forward)?;
            for ((_, places), predictions) in pass.iter().zip(predictions) {
                for (index, &place) in places.iter().enumerate() {
                    let own =
                        predictions.iter().map(|(task, of)| (task.clone(), sample(of, index)));
                    outputs[place] = Some(own.collect());
                }
            }
        }
        Ok(outputs.into_iter().flatten().collect())
    }

    /// The error of a name that no adapter has.
    pub(crate) fn unknown(&self, name: &str) -> Error {
        let names: Vec<&str> = self.names().collect();
        Error::Prediction(format!("there is no adapter `{name}`; there are {}", names.join(", ")))
    }

    /// Batches of one adapter and size, those together that share a pass.
    fn passes<S: Borrow<Sample>>(&self, samples: &[(&str, S)]) -> Result<Vec<Vec<Batch<'_>>>> {
        let mut batches: IndexMap<Kind<'_>, Vec<usize>> = IndexMap::new();
        for (place, (name, sample)) in samples.iter().enumerate() {
            let size = sample.borrow().maps.values().next().map(|map| (map.height, map.width));
            batches.entry((name, size)).or_default().push(place);
        }
        let mut passes: Vec<Vec<Batch<'_>>> = Vec::new();
        for ((name, _), places) in batches {
            let entry = self.adapters.get(name).ok_or_else(|| self.unknown(name))?;
            let shares =
                |pass: &&mut Vec<Batch<'_>>| pass.iter().all(|(other, _)| shares(entry, other));
            match passes.iter_mut().find(shares) {
                Some(pass) => pass.push((entry, places)),
                None => passes.push(vec![(entry, places)]),
            }
        }
        Ok(passes)
    }
}

/// The properties that samples of a batch share: an adapter and a size.
type Kind<'a> = (&'a str, Option<(usize, usize)>);

/// An adapter and the places of its samples.
type Batch<'a> = (&'a Entry, Vec<usize>);

fn shares(one: &Entry, other: &Entry) -> bool {
    std::ptr::eq(one, other)
        || (one.keeps_linear_weights
            && other.keeps_linear_weights
            && one.saved.model.can_batch_with(&other.saved.model))
}

/// The backbone's parameters, flattened, in the memory of the model.
fn flat_backbone(model: &PeftModel) -> IndexMap<String, Tensor<1>> {
    let mut all = IndexMap::new();
    let _same = update(model.clone(), |name, value| {
        if ParameterKind::of(name) == ParameterKind::Backbone {
            all.insert(name.to_owned(), value);
        }
        None
    });
    all
}

fn sample(prediction: &Prediction, index: usize) -> Prediction {
    match prediction {
        Prediction::Maps(maps) => Prediction::Maps(maps.clone().narrow(0, index, 1)),
        Prediction::Classes(logits) => Prediction::Classes(logits.clone().narrow(0, index, 1)),
    }
}

#[cfg(test)]
mod tests {
    use multimae::nn::LoraConfig;
    use multimae::peft::PeftConfig;
    use multimae::state::{StateDict, state_dict};
    use multimae::tuning::Tuning;
    use multimae::weights::write_safetensors;
    use multimae_data::{Values, stream};

    use super::super::tests::{card, samples};
    use super::*;

    fn device() -> Device {
        Device::default()
    }

    fn peft(text: serde_json::Value) -> PeftConfig {
        serde_json::from_value(text).unwrap()
    }

    /// A tuned model whose backbone is drawn with `seed` and whose other parameters are far from
    /// where they begin.
    fn tuned(peft: &PeftConfig, seed: u64, own: u64) -> SavedModel {
        let mut card = card();
        card.peft = peft.clone();
        let model = PeftModel::new(&card.model, &card.peft, &device()).unwrap();
        let model = multimae::init::initialise(model, |name| match ParameterKind::of(name) {
            ParameterKind::Backbone => stream(seed, name, 0, 0),
            _ => stream(own, name, 0, 0),
        });
        let model = update(model, |name, value| {
            let [len] = value.dims();
            let shift: Vec<f32> = (0..len).map(|i| ((i as f32) + own as f32).sin() * 0.2).collect();
            ParameterKind::of(name)
                .is_peft()
                .then(|| value.clone() + Tensor::from_floats(shift.as_slice(), &value.device()))
        });
        SavedModel { model, card, notes: IndexMap::new(), precision: Precision::Fp32 }
    }

    /// The same with other values where the mode trains the backbone.
    fn learnt(saved: &SavedModel, tuning: &str) -> SavedModel {
        let (tuning, depth): (Tuning, _) =
            (tuning.parse().unwrap(), saved.card.model.encoder.depth);
        let model = update(saved.model.clone(), |name, value| {
            let own = ParameterKind::of(name) == ParameterKind::Backbone
                && tuning.trains(name, depth)
                && !name.contains("pos_emb");
            own.then(|| value * 1.1 + 0.01)
        });
        SavedModel { model, ..saved.clone() }
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
            let adapter = Adapter::of(&learnt(saved, tuning), &tuning.parse().unwrap(), backbone);
            adapter.save(&self.path(name)).unwrap();
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

    fn values(output: &IndexMap<String, Prediction>) -> Vec<f32> {
        let one = |output: &Prediction| match output.clone() {
            Prediction::Maps(maps) => maps.into_data().iter::<f32>().collect::<Vec<f32>>(),
            Prediction::Classes(logits) => logits.into_data().iter().collect(),
        };
        output.values().flat_map(one).collect()
    }

    #[test]
    fn adapters_together_give_what_each_gives_alone() {
        let files = Files::new();
        let deep = peft(serde_json::json!({"prompts": {"kind": "deep", "count": 2}}));
        let prefix = peft(serde_json::json!({"prompts": {"kind": "prefix", "count": 3}}));
        let branched = PeftConfig { branch_at: Some(1), ..deep.clone() };
        let lora = PeftConfig { lora: Some(LoraConfig::default()), ..PeftConfig::default() };
        let norms = PeftConfig { entry_norms: true, ..PeftConfig::default() };
        let pool = peft(serde_json::json!({"prompts": {
            "kind": "l2p", "entries": 4, "length": 2, "top_n": 2,
        }}));
        let kinds = [
            ("a", &deep, "prompts"),
            ("b", &deep, "prompts"),
            ("c", &prefix, "prompts"),
            ("d", &branched, "prompts"),
            ("e", &branched, "prompts"),
            ("f", &lora, "lora"),
            ("g", &norms, "head"),
            ("h", &PeftConfig::default(), "norm"),
            ("i", &PeftConfig::default(), "bias"),
            ("j", &PeftConfig::default(), "full"),
            ("p", &pool, "prompts"),
        ];
        let backbone = files.backbone("backbone", &tuned(&PeftConfig::default(), 1, 0));
        let mut bank = AdapterBank::new(&backbone, device());
        for (index, (name, peft, tuning)) in kinds.iter().enumerate() {
            let saved = tuned(peft, 1, 10 + index as u64);
            bank.add(name, &files.adapter(name, &saved, tuning)).unwrap();
        }
        let names = ["a", "b", "f", "a", "c", "d", "e", "g", "h", "b", "d", "i", "j", "i", "p"];
        let mut batch: Vec<(&str, Sample)> = names.into_iter().zip(frames(15)).collect();
        // One is of another size.
        let map = &mut batch[3].1.maps["rgb"];
        (map.height, map.width) = (map.width, map.height);
        // All but those with other weights: prompts of any kind, low rank, norms, heads alone.
        let passes: Vec<Vec<&str>> = (bank.passes(&batch).unwrap().iter())
            .map(|pass| pass.iter().map(|(_, places)| batch[places[0]].0).collect())
            .collect();
        assert_eq!(
            passes,
            [vec!["a", "b", "f", "a", "c", "d", "e", "g", "h", "p"], vec!["i"], vec!["j"]]
        );
        let together = bank.predict(&batch).unwrap();
        assert_eq!(together.len(), batch.len());
        for ((name, sample), together) in batch.iter().zip(&together) {
            let index = kinds.iter().position(|(kind, ..)| kind == name).unwrap();
            let (_, peft, tuning) = kinds[index];
            let saved = learnt(&tuned(peft, 1, 10 + index as u64), tuning);
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
        let deep = peft(serde_json::json!({"prompts": {"kind": "deep", "count": 2}}));
        let backbone = files.backbone("backbone", &tuned(&PeftConfig::default(), 1, 0));
        let other = files.backbone("other", &tuned(&PeftConfig::default(), 2, 0));
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
            let classes = task.task.classes()[..1].to_vec();
            let labels = multimae_tasks::kinds::labels::Labels { classes, ignore: 255, offset: 0 };
            *task = multimae_tasks::TaskCard::new(labels, None);
        });
        assert!(error.contains("needs 1 to 2 outputs"), "{error}");
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
    #[allow(clippy::print_stderr, reason = "a test that does not run says so")]
    fn a_bank_predicts_in_its_own_precision() {
        if Precision::Bf16.check(&device()).is_err() {
            eprintln!("SKIPPED: this processor does not multiply in bfloat16");
            return;
        }
        let files = Files::new();
        let deep = peft(serde_json::json!({"prompts": {"kind": "deep", "count": 2}}));
        let backbone = files.backbone("backbone", &tuned(&PeftConfig::default(), 1, 0));
        let path = files.adapter("a", &tuned(&deep, 1, 5), "prompts");
        let mut bank = AdapterBank::new(&backbone, device());
        bank.add("a", &path).unwrap();
        let batch: Vec<(&str, Sample)> = ["a"].into_iter().zip(frames(1)).collect();
        let fp32 = values(&bank.predict(&batch).unwrap()[0]);
        let mut bank = bank.with_precision(Precision::Bf16);
        bank.add("b", &path).unwrap();
        let bf16 = values(&Precision::Fp32.scope(|| bank.predict(&batch)).unwrap()[0]);
        assert_ne!(fp32, bf16);
        for name in ["a", "b"] {
            let saved = bank.get(name).unwrap();
            let inputs = saved.card.inputs(&frames(1), &device()).unwrap();
            assert_eq!(values(&saved.predict(inputs).unwrap()), bf16, "{name}");
        }
    }

    #[test]
    fn adapters_share_the_memory_of_their_backbone() {
        let files = Files::new();
        let deep = peft(serde_json::json!({"prompts": {"kind": "deep", "count": 2}}));
        let backbone = files.backbone("backbone", &tuned(&PeftConfig::default(), 1, 0));
        let mut bank = AdapterBank::new(&backbone, device());
        for name in ["a", "b"] {
            bank.add(name, &files.adapter(name, &tuned(&deep, 1, 5), "prompts")).unwrap();
        }
        // With the file gone, a further adapter still finds its backbone.
        fs_err::remove_file(&backbone).unwrap();
        bank.add("c", &files.adapter("c", &tuned(&deep, 1, 6), "prompts")).unwrap();
        // One that changes the norms has the rest in common.
        let saved = tuned(&PeftConfig::default(), 1, 7);
        bank.add("d", &files.adapter("d", &saved, "norm")).unwrap();
        assert_eq!(bank.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(bank.backbones.len(), 1);
    }
}
