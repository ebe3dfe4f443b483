// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whatever is written for a socket, a network, a rule or any other value of a single key: it reads
//! back from how it is shown, or what is wrong with it is named.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use lrep_cl::addresses::Mapping;
use lrep_cl::config::{Allowed, Listen, Mode, Network, SetRule, TslSet, TslUrl};
use lrep_cl::notify::Target;
use lrep_cl::tsl::remote::address::Address;

use crate::{is_named, is_same};

/// A text.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    reads_back::<Address>(text);
    reads_back::<Allowed>(text);
    reads_back::<Listen>(text);
    reads_back::<Mapping>(text);
    reads_back::<Mode>(text);
    reads_back::<Network>(text);
    reads_back::<SetRule>(text);
    reads_back::<Target>(text);
    reads_back::<TslSet>(text);
    reads_back::<TslUrl>(text);
}

fn reads_back<T>(text: &str)
where
    T: FromStr<Err: Display> + Display + PartialEq + Debug,
{
    match text.parse::<T>() {
        Ok(value) => is_same(value.to_string().parse().ok(), value),
        Err(error) => is_named(&error),
    }
}
