//! Repeated measurements and what is said of them: the median, and how far they lie apart.

use serde_json::{Value, json};

/// Values of one thing that was measured several times.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// One more.
    pub fn push(&mut self, value: f64) {
        let at = self.0.partition_point(|&other| other < value);
        self.0.insert(at, value);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value below which so large a share of them lies, between neighbours if need be; none without values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let place = share * (self.0.len().checked_sub(1)?) as f64;
        let (below, above) = (self.0[place.floor() as usize], self.0[place.ceil() as usize]);
        Some(below + (above - below) * place.fract())
    }

    /// The median; none without values.
    pub fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// Least and greatest.
    pub fn range(&self) -> Option<[f64; 2]> {
        Some([self.quantile(0.0)?, self.quantile(1.0)?])
    }

    /// All of them times a positive number.
    pub fn scaled(&self, factor: f64) -> Samples {
        Samples(self.0.iter().map(|value| value * factor).collect())
    }

    /// `{"median", "quartiles": [_, _], "range": [_, _], "samples"}`.
    pub fn json(&self) -> Value {
        json!({
            "median": self.median(),
            "quartiles": [self.quantile(0.25), self.quantile(0.75)],
            "range": self.range(),
            "samples": self.len(),
        })
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Samples {
        let mut samples = Samples::default();
        values.into_iter().for_each(|value| samples.push(value));
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quartiles_lie_between_neighbours() {
        let samples: Samples = [4.0, 1.0, 3.0, 2.0].into_iter().collect();
        assert_eq!(samples.median(), Some(2.5));
        assert_eq!(samples.quantile(0.25), Some(1.75));
        assert_eq!(samples.range(), Some([1.0, 4.0]));
        assert_eq!(samples.len(), 4);
        assert_eq!(Samples::default().median(), None);
        let one: Samples = [7.0].into_iter().collect();
        assert_eq!((one.median(), one.range()), (Some(7.0), Some([7.0, 7.0])));
    }
}
