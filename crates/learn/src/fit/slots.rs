//! What an optimiser keeps of each parameter: arrays of its size, by name.

use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::NetGradients;
use crate::net::weights::{Named, collect};
use crate::{Error, Result, ops};

/// `N` arrays of each parameter, in module order.
#[derive(Debug, Clone)]
pub(super) struct Slots<const N: usize> {
    /// What the arrays' names begin with in the saved state.
    prefixes: [&'static str; N],
    slots: Vec<Slot<N>>,
}

#[derive(Debug, Clone)]
struct Slot<const N: usize> {
    name: String,
    shape: Vec<usize>,
    arrays: [Vec<f32>; N],
}

impl<const N: usize> Slots<N> {
    /// Zeros.
    pub(super) fn new<M: Module>(prefixes: [&'static str; N], net: &M) -> Self {
        let slots = collect(net)
            .into_iter()
            .map(|p| Slot {
                arrays: [(); N].map(|()| vec![0.0; p.values.len()]),
                name: p.name,
                shape: p.shape,
            })
            .collect();
        Self { prefixes, slots }
    }

    /// The net after `update` of each parameter under its gradient; those without one keep their
    /// value.
    ///
    /// # Panics
    /// Where the net is not the one the slots were made for.
    pub(super) fn apply<M: Module>(
        &mut self,
        net: M,
        grads: NetGradients,
        device: &Device,
        update: impl FnMut(&mut [f32], &[f32], &mut [Vec<f32>; N]),
    ) -> M {
        net.map(&mut Apply {
            update,
            slots: self.slots.iter_mut(),
            grads: grads.0.into_iter(),
            device,
        })
    }

    /// The arrays by name.
    pub(super) fn state(&self) -> Vec<Named> {
        let named = |slot: &Slot<N>| {
            let pairs = self.prefixes.iter().zip(&slot.arrays);
            pairs
                .map(|(prefix, values)| Named {
                    name: format!("{prefix}{}", slot.name),
                    shape: slot.shape.clone(),
                    values: values.clone(),
                })
                .collect::<Vec<_>>()
        };
        self.slots.iter().flat_map(named).collect()
    }

    /// Puts back what [`Slots::state`] gave.
    ///
    /// # Errors
    /// [`Error::Run`] where an array is missing or has another shape.
    pub(super) fn restore(&mut self, state: &[Named], run: &Path) -> Result<()> {
        for slot in &mut self.slots {
            for (prefix, array) in self.prefixes.iter().zip(&mut slot.arrays) {
                let name = format!("{prefix}{}", slot.name);
                array.clone_from(find(state, &name, &slot.shape, run)?);
            }
        }
        Ok(())
    }
}

/// The values of an array of an optimiser's state.
///
/// # Errors
/// [`Error::Run`] where it is missing or has another shape.
pub(super) fn find<'a>(
    state: &'a [Named],
    name: &str,
    shape: &[usize],
    run: &Path,
) -> Result<&'a Vec<f32>> {
    let found = state.iter().find(|a| a.name == name && a.shape == shape);
    found.map(|a| &a.values).ok_or_else(|| {
        Error::run(
            format!("expected the optimiser's {name} of shape {shape:?}"),
            run,
        )
    })
}

struct Apply<'a, F, const N: usize> {
    update: F,
    slots: std::slice::IterMut<'a, Slot<N>>,
    grads: std::vec::IntoIter<Option<Vec<f32>>>,
    device: &'a Device,
}

impl<F, const N: usize> ModuleMapper for Apply<'_, F, N>
where
    F: FnMut(&mut [f32], &[f32], &mut [Vec<f32>; N]),
{
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (Some(slot), Some(grad)) = (self.slots.next(), self.grads.next()) else {
            panic!("the optimiser and the gradients are of this net");
        };
        let Some(grad) = grad else {
            return param;
        };
        let tensor = param.val();
        drop(param);
        let shape = tensor.dims();
        let mut values = ops::values(tensor);
        (self.update)(&mut values, &grad, &mut slot.arrays);
        Param::from_data(TensorData::new(values, shape), self.device)
    }
}
