//! Pure rules of Oncebus: records, the receive run, routing, retry, ids, configuration.
