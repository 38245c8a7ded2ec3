//! What the steps of a recipe work on.

use std::collections::BTreeMap;

use crossmod_volume::{Grid, Image, Labels};

use crate::{Error, Result};

/// What a label value stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// Such as `left hippocampus`.
    pub name: String,
    /// What looks alike is of one class, such as `hippocampus` on either side: it gets one draw of
    /// intensities.
    pub class: String,
    /// The value of the same structure on the other side of the body.
    pub mirror: Option<u16>,
    /// The value that a segmenter is to learn for it; 0 for background.
    pub target: u16,
}

/// One case on its way from a label map to a labelled image.
///
/// Every value of `labels` has a [`Structure`], 0 included. Steps may add values (parts of an organ,
/// classes of what nobody segmented), change the grid, and paint.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// What lies where.
    pub labels: Labels,
    /// What the values are.
    pub structures: BTreeMap<u16, Structure>,
    /// A real scan of the case on the grid of `labels`, from which steps may learn; `None` where
    /// there are labels alone.
    pub scan: Option<Image>,
    /// The image, on the grid of `labels`, once a step has painted it.
    pub image: Option<Image>,
    /// The number of voxels (x, y, z) that a trainer wants the scene cut to; a step that can choose
    /// where to cut does, and clears it.
    pub patch: Option<[usize; 3]>,
}

impl Scene {
    /// The grid that everything lies on.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        self.labels.grid()
    }

    /// The image, for a step that changes it.
    ///
    /// # Errors
    /// [`Error::Recipe`] where no step before has painted one.
    pub fn painted(&mut self) -> Result<&mut Image> {
        self.image.as_mut().ok_or_else(|| {
            Error::Recipe(
                "expected a step before this one to paint an image, such as \"intensities\", found \
                 none; put one before it"
                    .into(),
            )
        })
    }

    /// What a value stands for; one that is not known is named by its number, and learnt.
    #[must_use]
    pub fn structure(&self, value: u16) -> Structure {
        self.structures
            .get(&value)
            .cloned()
            .unwrap_or_else(|| Structure::unnamed(value))
    }

    /// A value that no structure has yet.
    ///
    /// # Errors
    /// [`Error::Recipe`] where all 65536 are in use.
    pub fn new_value(&self) -> Result<u16> {
        // From above, so that values of files are not met.
        (1..u16::MAX)
            .rev()
            .find(|value| !self.structures.contains_key(value))
            .ok_or_else(|| Error::Recipe("expected room for another label, found 65536".into()))
    }

    /// The values of each class that occurs in `labels`, by class.
    #[must_use]
    pub fn classes(&self) -> BTreeMap<String, Vec<u16>> {
        let mut classes: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        for value in self.labels.counts().into_keys() {
            let class = self.structure(value).class;
            classes.entry(class).or_default().push(value);
        }
        classes
    }
}

impl Structure {
    /// A value of which nothing is known: a class of its own, learnt as it is.
    #[must_use]
    pub fn unnamed(value: u16) -> Self {
        let name = match value {
            0 => "background".to_owned(),
            _ => format!("label {value}"),
        };
        Self {
            class: name.clone(),
            name,
            mirror: None,
            target: value,
        }
    }
}
