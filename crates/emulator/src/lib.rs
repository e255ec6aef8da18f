//! Azure Service Bus REST, and the part of Blob Storage that Oncebus uses, in one process.
