//! Keys that take one of a few words.

use multimae::positions::NonSquareTables;

use super::keys::choice;

choice! {
    /// The weighting of pre-training's losses.
    pub enum BalancerChoice {
        /// All alike.
        None = "none",
        /// A learned log-variance per task.
        Uncertainty = "uncertainty",
    }
}

choice! {
    /// The optimiser.
    pub enum OptimiserChoice {
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
    }
}

choice! {
    /// The storage of the optimiser's two moments of every parameter.
    pub enum OptimiserStateChoice {
        /// 32 bits: 8 bytes per value.
        Fp32 = "fp32",
        /// bfloat16, rounded stochastically: 4 bytes per value.
        Bf16 = "bf16",
        /// 8 bits, quantised block by block: 2.03 bytes per value of parameters of 4096 values or more.
        EightBit = "8bit",
    }
}

choice! {
    /// The precision of the operands of GEMMs; sums and all else are fp32.
    pub enum PrecisionChoice {
        /// 32 bits.
        Fp32 = "fp32",
        /// bfloat16: 8 significant bits.
        Bf16 = "bf16",
        /// Whole numbers of 8 bits, of predictions alone.
        Int8 = "int8",
    }
}

choice! {
    /// The treatment of samples that cannot be read.
    pub enum BadSamplesChoice {
        /// The run stops.
        Fail = "fail",
        /// It is left out and counted.
        Skip = "skip",
    }
}

choice! {
    /// The treatment of samples whose loss is NaN.
    pub enum NanSamplesChoice {
        /// The run stops and names it.
        Stop = "stop",
        /// It is left out of the mean.
        Ignore = "ignore",
    }
}

choice! {
    /// The valid numbers of modalities that have no rule of their own.
    pub enum ValidValuesChoice {
        /// By the quantity: 0 and the largest value of the file's type are no distance.
        Quantity = "quantity",
        /// Every finite number.
        All = "all",
    }
}

choice! {
    /// The construction of position tables that are not square.
    pub enum TablesChoice {
        /// By row and column.
        RowColumn = "row_column",
        /// As the published code does, with positions scrambled.
        Scrambled = "scrambled",
    }
}

impl From<TablesChoice> for NonSquareTables {
    fn from(choice: TablesChoice) -> Self {
        match choice {
            TablesChoice::RowColumn => Self::RowColumn,
            TablesChoice::Scrambled => Self::Scrambled,
        }
    }
}

choice! {
    /// The weighting of fine-tuning's losses.
    pub enum WeightingChoice {
        /// By `task_weights` alone.
        None = "none",
        /// A learned log-variance per task.
        Uncertainty = "uncertainty",
        /// Each over the loss of predicting a constant.
        Normalised = "normalised",
    }
}

choice! {
    /// The activations that a step holds.
    pub enum CheckpointChoice {
        /// Those of one head at a time, where there are several.
        Auto = "auto",
        /// All.
        None = "none",
    }
}

choice! {
    /// The loss of depth and of other real values.
    pub enum DownstreamLoss {
        /// Reversed Huber.
        BerHu = "berhu",
        /// Absolute error.
        L1 = "l1",
        /// Scale-invariant logarithmic error.
        Silog = "silog",
    }
}

choice! {
    /// The quantity that a depth head's output stands for.
    pub enum DepthOutput {
        /// Depth.
        Linear = "linear",
        /// Its logarithm.
        Log = "log",
    }
}

choice! {
    /// The augmentation of training samples of dense tasks.
    pub enum Augmentation {
        /// The whole image fits, large-scale jitter, padding, colours.
        Simple = "simple",
        /// The image covers the input, random crop, colours where `color_augs` is set.
        NyuAugs = "nyu-augs",
    }
}

choice! {
    /// A kind of head.
    pub enum HeadChoice {
        /// Dense prediction transformer.
        Dpt = "dpt",
        /// ConvNeXt blocks.
        ConvNeXt = "convnext",
        /// Segmenter.
        Segmenter = "segmenter",
        /// A light head.
        Light = "light",
    }
}

choice! {
    /// The interpolation of a head's prediction to the resolution of the image.
    pub enum InterpolateMode {
        /// Linearly.
        Bilinear = "bilinear",
        /// The nearest value.
        Nearest = "nearest",
    }
}

choice! {
    /// The way in which samples are mixed.
    pub enum MixupMode {
        /// All of a batch alike.
        Batch = "batch",
    }
}

choice! {
    /// The storage of classes: in folders, under either name.
    pub enum ClassFolders {
        /// The published name of ImageNet.
        ImageNet = "IMNET",
        /// Any folders.
        ImageFolder = "image_folder",
    }
}
