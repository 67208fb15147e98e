//! The nested column `policies`.

use arrow_array::ListArray;
use arrow_array::builder::{Int32Builder, ListBuilder, StringBuilder, StructBuilder};
use podwitness_schemas::verdicts;
use podwitness_spool::PolicyRule;

/// Builds a list of policies and rule indices a row.
pub(crate) struct PoliciesBuilder(ListBuilder<StructBuilder>);

impl Default for PoliciesBuilder {
    fn default() -> Self {
        let element = StructBuilder::from_fields(verdicts::policy_fields(), 0);
        Self(ListBuilder::new(element).with_field(verdicts::policy_element()))
    }
}

impl PoliciesBuilder {
    pub(crate) fn append(&mut self, policies: &[PolicyRule]) {
        for policy in policies {
            let uid = (!policy.uid.is_empty()).then_some(&policy.uid);
            self.text(0).append_value(&policy.namespace);
            self.text(1).append_value(&policy.name);
            self.text(2).append_option(uid);
            self.column::<Int32Builder>(3).append_option(policy.rule);
            self.0.values().append(true);
        }
        self.0.append(true);
    }

    pub(crate) fn append_null(&mut self) {
        self.0.append(false);
    }

    pub(crate) fn finish(mut self) -> ListArray {
        self.0.finish()
    }

    fn text(&mut self, index: usize) -> &mut StringBuilder {
        self.column(index)
    }

    fn column<B: arrow_array::builder::ArrayBuilder>(&mut self, index: usize) -> &mut B {
        self.0.values().field_builder(index).expect("the builder was made from the fields of `policies`")
    }
}
