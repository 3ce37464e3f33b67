//! What the simulated models do when all is well.

use super::Model;

/// What a model does when all is well.
#[derive(Clone, Copy)]
pub struct Profile {
    pub expected: f64,
    pub power: f64,
    pub temperature: f64,
    pub fan_rpm: f64,
    pub shares_per_second: f64,
}

impl Profile {
    /// GH/s, W, °C, revolutions per minute, shares per second.
    pub const fn new(numbers: (f64, f64, f64, f64, f64)) -> Self {
        let (expected, power, temperature, fan_rpm, shares_per_second) = numbers;
        Profile { expected, power, temperature, fan_rpm, shares_per_second }
    }

    /// Of a model.
    pub fn of(model: Model) -> Self {
        match (model, model.family()) {
            (_, Some(family)) => family.profile,
            (Model::Bitaxe | Model::BitaxeOld, _) => Profile::new((1_071.0, 17.2, 54.0, 5_200.0, 0.21)),
            (Model::NerdQaxe, _) => Profile::new((4_896.0, 74.0, 55.0, 2_350.0, 0.9)),
            (Model::CgminerOld, _) => Profile::new((0.001_43, 35.0, 50.0, 1_200.0, 0.05)),
            (Model::Bfgminer, _) => Profile::new((0.35, 9.0, 48.0, 1_500.0, 0.06)),
            _ => Profile::new((13_500.0, 1_320.0, 62.0, 4_700.0, 0.4)),
        }
    }
}
