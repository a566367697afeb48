//! Lists of values of which each variant of an enum has at least one.

/// Lists the cases of an enum, each with the pattern of its variant. A variant without a case does
/// not compile: the patterns are the arms of a match without a wildcard.
macro_rules! cases {
    ($type:ident { $($pattern:pat => $($name:literal: $value:expr),+;)+ }) => {{
        fn every_variant_has_a_case(value: &$type) {
            match value { $($pattern => {})+ }
        }
        let mut all: Vec<(&str, $type)> = Vec::new();
        $($(
            let value: $type = $value;
            assert!(matches!(value, $pattern), "{} is listed under another variant", $name);
            every_variant_has_a_case(&value);
            all.push(($name, value));
        )+)+
        all
    }};
}
