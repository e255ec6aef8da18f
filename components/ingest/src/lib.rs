//! HTTP in, Service Bus out: answers 202 only after the broker said 201.
