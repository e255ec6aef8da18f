//! The REST dialects of Service Bus and Blob Storage as pure functions: requests, responses, SAS.
