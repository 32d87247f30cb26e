//! The list of all groups of checks as tests, for every test binary that runs them on a device of its own.

/// A test for each group that calls `check_group` with its name, and one that none is forgotten.
macro_rules! test_every_group {
    () => {
        test_every_group! {
            elements,
            elementwise,
            embedding,
            norms,
            rotary,
            gates,
            matmul,
            linear,
            attention,
            weighted_nll,
            adamw,
            muon,
            decoding,
            sampling,
            network
        }
    };
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            check_group(stringify!($name));
        })*

        #[test]
        fn every_group_is_tested() {
            let names: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}
