use std::cmp::Ordering;

use super::Field;

/// One entry of a route's `where`: a field, and what must hold for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// Index into [`Plan::fields`](crate::plan::Plan::fields).
    pub field: usize,
    /// All must hold.
    pub operators: Vec<Operator>,
    /// `missing: pass`: an event without the field is let through.
    pub missing_passes: bool,
    /// An operand came from the environment or a file, and so is shown nowhere.
    pub concealed: bool,
}

/// What must hold for a field (PRODUCT.md §1, `where`).
#[derive(Debug, Clone, PartialEq)]
pub enum Operator {
    /// `eq`.
    Equal(Field),
    /// `ne`.
    NotEqual(Field),
    /// `gt`.
    Greater(Field),
    /// `gte`.
    GreaterOrEqual(Field),
    /// `lt`.
    Less(Field),
    /// `lte`.
    LessOrEqual(Field),
    /// `in`, or a plain list: one of these; if the field is a list, one of its elements.
    In(Vec<Field>),
    /// `not_in`: the opposite of `in`.
    NotIn(Vec<Field>),
    /// `exists: true` or `exists: false`.
    Exists(Presence),
    /// `prefix`: text that starts so.
    Prefix(Box<str>),
}

/// What `exists` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// `exists: true`.
    Present,
    /// `exists: false`.
    Absent,
}

impl Condition {
    /// Whether the condition holds for an event whose field is `field`. A JSON `null` counts as
    /// absent.
    pub fn holds(&self, field: Option<&Field>) -> bool {
        match field.filter(|field| **field != Field::Null) {
            Some(field) => self.operators.iter().all(|operator| operator.holds(field)),
            None => {
                let asks_for_absence =
                    |operator: &Operator| matches!(operator, Operator::Exists(Presence::Absent));
                self.missing_passes
                    || (!self.operators.is_empty() && self.operators.iter().all(asks_for_absence))
            }
        }
    }
}

impl Operator {
    fn holds(&self, field: &Field) -> bool {
        match self {
            Operator::Equal(wanted) => equal(field, wanted),
            Operator::NotEqual(wanted) => !equal(field, wanted),
            Operator::Greater(bound) => compare(field, bound).is_some_and(Ordering::is_gt),
            Operator::GreaterOrEqual(bound) => compare(field, bound).is_some_and(Ordering::is_ge),
            Operator::Less(bound) => compare(field, bound).is_some_and(Ordering::is_lt),
            Operator::LessOrEqual(bound) => compare(field, bound).is_some_and(Ordering::is_le),
            Operator::In(wanted) => one_of(field, wanted),
            Operator::NotIn(wanted) => !one_of(field, wanted),
            Operator::Exists(presence) => *presence == Presence::Present,
            Operator::Prefix(prefix) => {
                matches!(field, Field::Text(text) if text.starts_with(&**prefix))
            }
        }
    }
}

fn one_of(field: &Field, wanted: &[Field]) -> bool {
    match field {
        Field::List(elements) => elements.iter().any(|element| wanted.iter().any(|one| equal(element, one))),
        single => wanted.iter().any(|one| equal(single, one)),
    }
}

fn equal(left: &Field, right: &Field) -> bool {
    compare(left, right).map_or_else(|| left == right, Ordering::is_eq)
}

/// Numbers by value, text by code point; anything else has no order.
fn compare(left: &Field, right: &Field) -> Option<Ordering> {
    match (left, right) {
        (Field::Integer(left), Field::Integer(right)) => Some(left.cmp(right)),
        (Field::Text(left), Field::Text(right)) => Some(left.cmp(right)),
        (left, right) => number(left)?.partial_cmp(&number(right)?),
    }
}

fn number(field: &Field) -> Option<f64> {
    match field {
        Field::Integer(value) => Some(*value as f64),
        Field::Float(value) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Field {
        Field::Text(value.into())
    }

    fn where_field(operators: Vec<Operator>) -> Condition {
        Condition { field: 0, operators, missing_passes: false, concealed: false }
    }

    #[test]
    fn a_list_takes_one_of_its_values_or_a_shared_element() {
        let condition = where_field(vec![Operator::In(vec![text("high"), text("critical")])]);

        assert!(condition.holds(Some(&text("high"))));
        assert!(!condition.holds(Some(&text("low"))));
        assert!(condition.holds(Some(&Field::List([text("x"), text("critical")].into()))));
        assert!(!condition.holds(Some(&Field::List([text("x")].into()))));
    }

    #[test]
    fn numbers_compare_by_value_and_bounds_combine() {
        let between = where_field(vec![
            Operator::GreaterOrEqual(Field::Integer(100)),
            Operator::Less(Field::Float(200.5)),
        ]);

        assert!(between.holds(Some(&Field::Integer(100))));
        assert!(between.holds(Some(&Field::Float(200.25))));
        assert!(!between.holds(Some(&Field::Float(99.9))));
        assert!(!between.holds(Some(&Field::Integer(201))));
        assert!(!between.holds(Some(&text("150"))), "text is not a number");
        assert!(where_field(vec![Operator::Equal(Field::Integer(1))]).holds(Some(&Field::Float(1.0))));
    }

    #[test]
    fn a_missing_or_null_field_is_refused_unless_it_may_be_missing() {
        let mut condition = where_field(vec![Operator::NotEqual(text("x"))]);

        assert!(!condition.holds(None));
        assert!(!condition.holds(Some(&Field::Null)));
        condition.missing_passes = true;
        assert!(condition.holds(None));
        assert!(where_field(vec![Operator::Exists(Presence::Absent)]).holds(None));
        assert!(!where_field(vec![Operator::Exists(Presence::Absent)]).holds(Some(&text("x"))));
        assert!(where_field(vec![Operator::Exists(Presence::Present)]).holds(Some(&text("x"))));
    }

    #[test]
    fn a_prefix_is_text_only() {
        let condition = where_field(vec![Operator::Prefix("eu-".into())]);

        assert!(condition.holds(Some(&text("eu-west"))));
        assert!(!condition.holds(Some(&text("us-east"))));
        assert!(!condition.holds(Some(&Field::Integer(1))));
    }
}
