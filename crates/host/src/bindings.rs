//! The two interfaces of Spin that this host has, generated from their types.

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
mod generated {
    wasmtime::component::bindgen!({
        world: "imports",
        inline: r#"
            package fermyon:spin@2.0.0;

            interface sqlite {
                resource connection {
                    open: static func(database: string) -> result<connection, error>;
                    execute: func(statement: string, parameters: list<value>) -> result<query-result, error>;
                }
                variant error {
                    no-such-database,
                    access-denied,
                    invalid-connection,
                    database-full,
                    io(string),
                }
                record query-result {
                    columns: list<string>,
                    rows: list<row-result>,
                }
                record row-result {
                    values: list<value>,
                }
                variant value {
                    integer(s64),
                    real(f64),
                    text(string),
                    blob(list<u8>),
                    null,
                }
            }

            interface variables {
                get: func(name: string) -> result<string, error>;
                variant error {
                    invalid-name(string),
                    undefined(string),
                    provider(string),
                    other(string),
                }
            }

            world imports {
                import sqlite;
                import variables;
            }
        "#,
        imports: { default: async | trappable },
        with: { "fermyon:spin/sqlite.connection": crate::sqlite::Connection },
        require_store_data_send: true,
    });
}

pub(crate) use generated::fermyon::spin::{sqlite, variables};
