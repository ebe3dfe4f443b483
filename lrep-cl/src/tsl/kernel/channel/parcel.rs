// SPDX-License-Identifier: MIT OR Apache-2.0

//! What goes out as one command: an order, or several that the kernel carries out together.
//!
//! Together they are all done or none is. Only when all are done does that say what became of each;
//! what was refused together is to be done one by one.

use std::mem::take;

use genl_proto::{Answer, Created, NewSession, Request};

use super::{Answers, Asker, Order, Results};
use crate::tsl::{Error, SessionId};

/// A command, and who ordered it.
pub(super) struct Parcel {
    pub(super) request: Request,
    pub(super) family: u16,
    /// One, or one for each thing the command does.
    askers: Vec<Asker>,
    /// Of several sessions to be made, whether each may end others. Together none may: it would
    /// not be told which of them did.
    replace: Vec<bool>,
}

/// Puts together what can be done together.
pub(super) fn pack(orders: impl Iterator<Item = Order>) -> Vec<Parcel> {
    let mut parcels = Vec::new();
    let (mut made, mut ended) = (Vec::new(), Vec::new());
    for Order {
        request,
        family,
        asker,
    } in orders
    {
        match request {
            Request::SessionNew(session) => made.push((session, family, asker)),
            Request::SessionBulkDel(ids) if ids.len() == 1 => ended.push((ids, family, asker)),
            request => parcels.push(Parcel::one(request, family, asker)),
        }
    }
    parcels.extend(together(made, Request::SessionNew, |sessions| {
        Request::SessionBulkNew(sessions)
    }));
    parcels.extend(together(ended, Request::SessionBulkDel, |ids| {
        Request::SessionBulkDel(ids.concat())
    }));
    parcels
}

/// One parcel of orders of a kind: as `one` when there is only one, otherwise as `several`.
fn together<T>(
    mut orders: Vec<(T, u16, Asker)>,
    one: fn(T) -> Request,
    several: fn(Vec<T>) -> Request,
) -> Option<Parcel> {
    if orders.len() == 1 {
        let (thing, family, asker) = orders.pop()?;
        return Some(Parcel::one(one(thing), family, asker));
    }
    let family = orders.first()?.1;
    let (mut things, mut askers) = (
        Vec::with_capacity(orders.len()),
        Vec::with_capacity(orders.len()),
    );
    for (thing, _, asker) in orders {
        things.push(thing);
        askers.push(asker);
    }
    let mut parcel = Parcel {
        request: several(things),
        family,
        askers,
        replace: Vec::new(),
    };
    if let Request::SessionBulkNew(sessions) = &mut parcel.request {
        let replaces = |session: &mut NewSession| take(&mut session.replace);
        parcel.replace = sessions.iter_mut().map(replaces).collect();
    }
    Some(parcel)
}

impl Parcel {
    fn one(request: Request, family: u16, asker: Asker) -> Self {
        Self {
            request,
            family,
            askers: vec![asker],
            replace: Vec::new(),
        }
    }

    /// Whether there are several orders in it.
    pub(super) fn is_several(&self) -> bool {
        self.askers.len() > 1
    }

    /// The orders, each by itself.
    pub(super) fn unpack(self) -> Vec<Self> {
        let requests: Vec<_> = match self.request {
            Request::SessionBulkNew(sessions) => sessions
                .into_iter()
                .zip(self.replace)
                .map(|(session, replace)| Request::SessionNew(NewSession { replace, ..session }))
                .collect(),
            Request::SessionBulkDel(ids) => {
                let one = |id: SessionId| Request::SessionBulkDel(vec![id]);
                ids.into_iter().map(one).collect()
            }
            request => vec![request],
        };
        let parcels = requests.into_iter().zip(self.askers);
        parcels
            .map(|(request, asker)| Self::one(request, self.family, asker))
            .collect()
    }

    /// It was carried out, and answered like this.
    pub(super) fn done(self, mut answers: Answers) -> Results {
        if !self.is_several() {
            let askers = self.askers.into_iter();
            return askers
                .map(|asker| (asker, Ok(take(&mut answers))))
                .collect();
        }
        let ids = match answers.all.pop() {
            Some(Answer::BulkCreated(created)) => created.ids,
            // Ends are acknowledged only.
            _ => Vec::new(),
        };
        let is_made = matches!(self.request, Request::SessionBulkNew(_));
        if is_made && ids.len() != self.askers.len() {
            let error = Error::Channel("not all sessions have a number".to_owned());
            return self.failed(&error);
        }
        let mut ids = ids.into_iter();
        let answer = |asker| {
            let created = ids.next().map(|id| Created {
                id,
                replaced: Vec::new(),
            });
            let all = created.map(Answer::Created).into_iter().collect();
            let answers = Answers {
                all,
                is_interrupted: false,
            };
            (asker, Ok(answers))
        };
        self.askers.into_iter().map(answer).collect()
    }

    /// It was not carried out, or nobody knows.
    pub(super) fn failed(self, error: &Error) -> Results {
        let askers = self.askers.into_iter();
        askers.map(|asker| (asker, Err(error.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    type Told = oneshot::Receiver<crate::tsl::Result<Answers>>;

    fn order(request: Request) -> (Order, Told) {
        let (asker, told) = oneshot::channel();
        let order = Order {
            request,
            family: 30,
            asker,
        };
        (order, told)
    }

    fn session(label: &str, replace: bool) -> Request {
        Request::SessionNew(NewSession {
            label: label.into(),
            owner: 1,
            timeout_ms: 1000,
            streams: Vec::new(),
            replace,
        })
    }

    fn requests(parcels: &[Parcel]) -> Vec<&Request> {
        parcels.iter().map(|parcel| &parcel.request).collect()
    }

    #[test]
    fn what_is_alone_of_its_kind_goes_out_as_it_was_ordered() {
        let all = [
            session("a", true),
            Request::SessionBulkDel(vec![7]),
            Request::SessionGet(8),
            Request::SessionBulkDel(vec![9, 10]),
        ];
        let (orders, _told): (Vec<_>, Vec<_>) = all.clone().map(order).into_iter().unzip();
        let parcels = pack(orders.into_iter());
        assert!(parcels.iter().all(|parcel| !parcel.is_several()));
        let [new, one, get, two] = &all;
        assert_eq!(requests(&parcels), [get, two, new, one]);
    }

    #[test]
    fn each_order_of_several_gets_its_own_answer() {
        let all = [
            session("a", true),
            Request::SessionBulkDel(vec![7]),
            session("b", true),
            Request::SessionBulkDel(vec![8]),
        ];
        let (orders, told): (Vec<_>, Vec<_>) = all.map(order).into_iter().unzip();
        let parcels = pack(orders.into_iter());
        let (a, b) = (session("a", false), session("b", false));
        let (Request::SessionNew(a), Request::SessionNew(b)) = (a, b) else {
            unreachable!("they are sessions")
        };
        assert_eq!(
            requests(&parcels),
            [
                &Request::SessionBulkNew(vec![a, b]),
                &Request::SessionBulkDel(vec![7, 8])
            ]
        );
        let created = Answer::BulkCreated(genl_proto::BulkCreated {
            ids: vec![21, 22],
            replaced: Vec::new(),
        });
        for (parcel, all) in parcels.into_iter().zip([vec![created], Vec::new()]) {
            let answers = Answers {
                all,
                is_interrupted: false,
            };
            for (asker, result) in parcel.done(answers) {
                asker.send(result).expect("somebody waits");
            }
        }
        let of = |id| {
            vec![Answer::Created(Created {
                id,
                replaced: Vec::new(),
            })]
        };
        let wanted = [of(21), Vec::new(), of(22), Vec::new()];
        for (mut told, wanted) in told.into_iter().zip(wanted) {
            let answers = told.try_recv().expect("told").expect("done");
            assert_eq!(answers.all, wanted);
        }
    }

    #[test]
    fn what_is_taken_apart_is_as_it_was_ordered() {
        let all = [session("a", true), session("b", false)];
        let (orders, _told): (Vec<_>, Vec<_>) = all.clone().map(order).into_iter().unzip();
        let mut parcels = pack(orders.into_iter());
        let parcels = parcels.pop().expect("one").unpack();
        assert_eq!(requests(&parcels), all.iter().collect::<Vec<_>>());
        let all = [7, 8].map(|id| Request::SessionBulkDel(vec![id]));
        let (orders, _told): (Vec<_>, Vec<_>) = all.clone().map(order).into_iter().unzip();
        let mut parcels = pack(orders.into_iter());
        let parcels = parcels.pop().expect("one").unpack();
        assert_eq!(requests(&parcels), all.iter().collect::<Vec<_>>());
    }

    #[test]
    fn too_few_numbers_leave_open_what_was_made() {
        let all = [session("a", true), session("b", false)];
        let (orders, told): (Vec<_>, Vec<_>) = all.map(order).into_iter().unzip();
        let mut parcels = pack(orders.into_iter());
        let created = Answer::BulkCreated(genl_proto::BulkCreated {
            ids: vec![21],
            replaced: Vec::new(),
        });
        let answers = Answers {
            all: vec![created],
            is_interrupted: false,
        };
        for (asker, result) in parcels.pop().expect("one").done(answers) {
            asker.send(result).expect("somebody waits");
        }
        for mut told in told {
            let error = told.try_recv().expect("told").expect_err("unknown");
            assert!(error.is_uncertain(), "{error}");
        }
    }
}
