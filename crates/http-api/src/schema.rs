//! Schemas that the derive macro cannot state.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema,
        schema::{AdditionalProperties, SchemaType, Type},
    },
};

use crate::{limits::MAX_TARGETS, name::Name, operation::To};

/// The id of a client: 20 or 44 hexadecimal digits.
#[derive(Debug)]
pub(crate) struct ClientIdText;

impl PartialSchema for ClientIdText {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .pattern(Some("^([0-9a-fA-F]{20}|[0-9a-fA-F]{44})$"))
            .description(Some("The id of a client: 20 hexadecimal digits, or 44 (IPv6)."))
            .into()
    }
}

impl ToSchema for ClientIdText {
    fn name() -> std::borrow::Cow<'static, str> {
        "ClientId".into()
    }
}

impl PartialSchema for To {
    fn schema() -> RefOr<Schema> {
        let only = |key: &str, value: RefOr<Schema>| {
            ObjectBuilder::new()
                .property(key, value)
                .required(key)
                .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        };
        let list = |item: &str| {
            let item = RefOr::Ref(Ref::from_schema_name(item));
            ArrayBuilder::new().items(item).max_items(Some(MAX_TARGETS)).into()
        };
        let yes = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Boolean))
            .enum_values(Some([true]))
            .into();
        OneOfBuilder::new()
            .item(only("all", yes))
            .item(only("clients", list("ClientId")))
            .item(only("uids", list("Name")))
            .item(only("groups", list("Name")))
            .description(Some("The recipients: every client, or those of one list."))
            .into()
    }
}

impl ToSchema for To {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((ClientIdText::name().into(), ClientIdText::schema()));
        schemas.push((Name::name().into(), Name::schema()));
    }
}
