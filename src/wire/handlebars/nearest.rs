//! What a mistyped name may have meant.

/// `; did you mean …?`, if something similar is known.
pub(super) fn hint<'n>(written: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    let allowed = written.chars().count().div_ceil(3).min(3);
    let nearest = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min();
    nearest.map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}
