//! Named parameters of any net, in a fixed order; saved as safetensors.
//!
//! Burn's parameter ids are random, so everything that outlives a process names a parameter by its
//! path in the module (`blocks.3.first.weight`).

use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use crossmod_volume::io::write_atomic;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{Error, Result, ops};

/// A named array of f32, as stored in a safetensors file.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Path in the module, or a name of the writer's choice.
    pub name: String,
    /// Shape, slowest axis first.
    pub shape: Vec<usize>,
    /// Values, last axis fastest.
    pub values: Vec<f32>,
}

#[derive(Default)]
struct Walk {
    path: Vec<String>,
}

impl Walk {
    fn name(&self) -> String {
        self.path.join(".")
    }
}

struct Collect {
    walk: Walk,
    found: Vec<Named>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.walk.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.walk.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push(Named {
            name: self.walk.name(),
            shape: param.dims().to_vec(),
            values: ops::values(param.val()),
        });
    }
}

/// Every parameter of a net, in module order.
#[must_use]
pub fn collect<M: Module>(net: &M) -> Vec<Named> {
    let mut visitor = Collect {
        walk: Walk::default(),
        found: Vec::new(),
    };
    net.visit(&mut visitor);
    visitor.found
}

struct Leaves;

impl ModuleMapper for Leaves {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::initialized(param.id, param.val().detach().require_grad())
    }
}

/// The same net on a tape of its own: its parameters share their values with `net`'s but not their
/// place in the graph, so that losses of the two go backward independently of each other.
#[must_use]
pub(crate) fn leaves<M: Module>(net: &M) -> M {
    net.clone().map(&mut Leaves)
}

struct Fill<'a> {
    walk: Walk,
    from: &'a [Named],
    device: &'a Device,
    trouble: Option<String>,
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.walk.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.walk.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.walk.name();
        let shape = param.dims().to_vec();
        match self.from.iter().find(|t| t.name == name) {
            Some(found) if found.shape == shape => {
                let data = TensorData::new(found.values.clone(), shape);
                Param::from_data(data, self.device)
            }
            found => {
                self.trouble.get_or_insert_with(|| match found {
                    Some(found) => {
                        format!(
                            "expected {name} of shape {shape:?}, found {:?}",
                            found.shape
                        )
                    }
                    None => format!("expected the parameter {name}, which is not in the file"),
                });
                param
            }
        }
    }
}

/// The net with its parameters replaced by those of the same name.
///
/// # Errors
/// [`Error::Run`] where one is missing or has another shape; `path` is named in it.
pub fn fill<M: Module>(net: M, from: &[Named], device: &Device, path: &Path) -> Result<M> {
    let mut mapper = Fill {
        walk: Walk::default(),
        from,
        device,
        trouble: None,
    };
    let net = net.map(&mut mapper);
    match mapper.trouble {
        Some(trouble) => Err(Error::run(
            format!("{trouble}; the weights belong to a net of another size or kind"),
            path,
        )),
        None => Ok(net),
    }
}

/// Writes arrays to a safetensors file, whole or not at all.
///
/// # Errors
/// Where the file cannot be written.
pub fn save(path: &Path, arrays: &[Named]) -> Result<()> {
    let bytes: Vec<Vec<u8>> = arrays
        .iter()
        .map(|t| t.values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let malformed = |e: safetensors::SafeTensorError| Error::run(e.to_string(), path);
    let mut views = Vec::with_capacity(arrays.len());
    for (array, bytes) in arrays.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, array.shape.clone(), bytes).map_err(malformed)?;
        views.push((array.name.clone(), view));
    }
    let packed = safetensors::serialize(views, None).map_err(malformed)?;
    Ok(write_atomic(path, |out| out.write_all(&packed))?)
}

/// Reads every array of a safetensors file.
///
/// # Errors
/// Where the file cannot be read or is not f32 safetensors.
pub fn load(path: &Path) -> Result<Vec<Named>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read weights", e, path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| {
        Error::run(
            format!("expected a safetensors file, found: {e}; train or copy again"),
            path,
        )
    })?;
    file.iter()
        .map(|(name, view)| {
            if view.dtype() != Dtype::F32 {
                let found = view.dtype();
                return Err(Error::run(
                    format!("expected f32 in {name}, found {found:?}"),
                    path,
                ));
            }
            let (words, _) = view.data().as_chunks::<4>();
            Ok(Named {
                name: name.to_owned(),
                shape: view.shape().to_vec(),
                values: words.iter().map(|w| f32::from_le_bytes(*w)).collect(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crossmod_volume::rng::Rng;

    use super::*;
    use crate::net::{Head, PatchGanConfig, ResNetConfig};

    #[test]
    fn weights_survive_a_round_trip_by_name() -> Result<()> {
        let device = crate::device::cpu();
        let config = ResNetConfig {
            width: 2,
            blocks: 1,
        };
        let build = |seed| config.init::<4>([1, 1], Head::Tanh, &mut Rng::new(seed, 0, 0), &device);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("w.safetensors");
        let (net, other) = (build(1), build(2));
        assert_ne!(collect(&net), collect(&other));
        save(&path, &collect(&net))?;
        let back = fill(other, &load(&path)?, &device, &path)?;
        assert_eq!(collect(&net), collect(&back));
        assert!(
            collect(&net)
                .iter()
                .any(|p| p.name == "blocks.0.first.weight")
        );
        Ok(())
    }

    #[test]
    fn weights_of_another_net_are_refused() {
        let device = crate::device::cpu();
        let small = PatchGanConfig { width: 2 }.init::<4>(1, &mut Rng::new(1, 0, 0), &device);
        let large = PatchGanConfig { width: 4 }.init::<4>(1, &mut Rng::new(1, 0, 0), &device);
        let error = fill(large, &collect(&small), &device, Path::new("w")).expect_err("refused");
        assert!(error.to_string().contains("another size"), "{error}");
    }
}
