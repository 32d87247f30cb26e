//! The order of numbered items over epochs, fixed by a seed: a step finds its items without looking back,
//! so that work that goes on needs to know nothing but the step.

use ferrochat_model::Rng;

/// Shuffled anew in each epoch; each step takes as many items. What is left over of an epoch is not seen in it.
#[derive(Clone, Debug)]
pub struct Order {
    seed: u64,
    count: usize,
    per_step: usize,
    epoch: Option<usize>,
    shuffled: Vec<usize>,
}

impl Order {
    /// `count` items, `per_step` in each step; at least one step must come of an epoch.
    pub fn new(seed: u64, count: usize, per_step: usize) -> Order {
        assert!(0 < per_step && per_step <= count, "an epoch has at least one step");
        Order {
            seed,
            count,
            per_step,
            epoch: None,
            shuffled: Vec::new(),
        }
    }

    /// Steps that an epoch has.
    pub fn steps_per_epoch(&self) -> usize {
        self.count / self.per_step
    }

    /// The items of a step.
    pub fn at(&mut self, step: usize) -> &[usize] {
        let epoch = step / self.steps_per_epoch();
        if self.epoch != Some(epoch) {
            self.shuffle(epoch);
        }
        let begin = step % self.steps_per_epoch() * self.per_step;
        &self.shuffled[begin..begin + self.per_step]
    }

    /// Fisher and Yates.
    fn shuffle(&mut self, epoch: usize) {
        let mut rng = Rng::derive(self.seed, "order", epoch as u64);
        self.shuffled.clear();
        self.shuffled.extend(0..self.count);
        for last in (1..self.count).rev() {
            let chosen = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
            self.shuffled.swap(last, chosen as usize);
        }
        self.epoch = Some(epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_each_item_once_and_each_epoch_has_its_order() {
        let mut order = Order::new(3, 12, 4);
        let mut epochs = Vec::new();
        for epoch in 0..2 {
            let mut items: Vec<usize> = (0..3).flat_map(|step| order.at(epoch * 3 + step).to_vec()).collect();
            epochs.push(items.clone());
            items.sort_unstable();
            assert_eq!(items, (0..12).collect::<Vec<_>>());
        }
        assert_ne!(epochs[0], epochs[1]);
        assert_ne!(Order::new(4, 12, 4).at(0), order.at(0));
    }

    #[test]
    fn a_step_does_not_depend_on_those_before() {
        let (mut all, mut one) = (Order::new(1, 10, 3), Order::new(1, 10, 3));
        let seventh: Vec<Vec<usize>> = (0..8).map(|step| all.at(step).to_vec()).collect();
        assert_eq!(one.at(7), seventh[7]);
        assert_eq!(one.at(2), seventh[2]);
    }
}
