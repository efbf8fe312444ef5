//! DNS messages: names, codes, questions, and records of answers.

pub(in crate::dns) mod answer;
pub(in crate::dns) mod codes;
pub(in crate::dns) mod data;
pub(in crate::dns) mod name;
pub(in crate::dns) mod question;
pub(in crate::dns) mod record;
pub(in crate::dns) mod response;
