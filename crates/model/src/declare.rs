//! Declaring parameters: the one place where a parameter gets name, shape, starting values and optimizer group.
//! Checkpoints, optimizer, counts and FLOPs read the list that comes of it.

use ferrochat_tensor::{Device, Param};

use crate::init::Init;
use crate::optim::Group;

/// A parameter and all that is known of it.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// The parameter; its name is its key in checkpoints.
    pub param: Param,
    /// Distribution of its starting values.
    pub init: Init,
    /// Who updates it and how.
    pub group: Group,
    /// Every token is multiplied by it, as opposed to looking something up in it: it counts in FLOPs.
    pub matmul: bool,
}

/// Collects declarations while a model is built.
pub(crate) struct Declare<'a> {
    device: &'a Device,
    list: Vec<Declaration>,
}

impl<'a> Declare<'a> {
    pub(crate) fn new(device: &'a Device) -> Declare<'a> {
        Declare {
            device,
            list: Vec::new(),
        }
    }

    /// A matrix `[out, in]` for [`ferrochat_tensor::Graph::linear`] or a gate.
    pub(crate) fn linear(&mut self, name: &str, shape: [usize; 2], init: Init, group: Group) -> Param {
        self.push(Param::new(self.device, name, shape), init, group, true)
    }

    /// A table `[vocabulary, channels]`.
    pub(crate) fn embedding(&mut self, name: &str, shape: [usize; 2], init: Init, group: Group) -> Param {
        self.push(Param::new(self.device, name, shape), init, group, false)
    }

    /// A vector of coefficients.
    pub(crate) fn scalars(&mut self, name: &str, len: usize, init: Init, group: Group) -> Param {
        self.push(Param::new(self.device, name, [len]), init, group, false)
    }

    fn push(&mut self, param: Param, init: Init, group: Group, matmul: bool) -> Param {
        self.list.push(Declaration {
            param: param.clone(),
            init,
            group,
            matmul,
        });
        param
    }

    pub(crate) fn finish(self) -> Vec<Declaration> {
        self.list
    }
}
