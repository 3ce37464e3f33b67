//! Functions of a window that may hold numbers, native histograms, or both.

use std::sync::Arc;

use crate::model::{FloatHistogram, Point};

use super::super::annotation::Remarks;
use super::super::ast::Edge;
use super::super::begun;
use super::super::eval::Datum;
use super::super::native::{self, Incompatible, Sum};
use super::super::window::{self, Mean, Window};

/// One sample of a window.
#[derive(Clone, Copy)]
enum Item<'a> {
    Float(Point),
    Histogram(i64, &'a Arc<FloatHistogram>),
}

impl Item<'_> {
    fn time(&self) -> i64 {
        match self {
            Item::Float(point) => point.t,
            Item::Histogram(t, _) => *t,
        }
    }

    fn datum(&self) -> Datum {
        match self {
            Item::Float(point) => Datum::Float(point.v),
            Item::Histogram(_, histogram) => Datum::Histogram(Arc::clone(histogram)),
        }
    }
}

/// The samples in the order of time. An anchored window begins with the last one before it.
fn items<'a>(window: &Window<'a>) -> Vec<Item<'a>> {
    let floats = window.points.iter().map(|point| Item::Float(*point));
    let mut all: Vec<Item> =
        floats.chain(window.histograms.iter().map(|(t, histogram)| Item::Histogram(*t, histogram))).collect();
    if !window.points.is_empty() && !window.histograms.is_empty() {
        all.sort_by_key(Item::time);
    }
    if window.edge == Edge::Anchored {
        let before = all.partition_point(|item| item.time() <= window.start).saturating_sub(1);
        all.drain(..before);
    }
    all
}

/// How often neighbours differ, by their values or by the time at which they stand.
fn pairs(
    window: &Window,
    floats: fn(f64, f64) -> bool,
    histograms: fn(&FloatHistogram, &FloatHistogram) -> bool,
    times: impl Fn(i64, i64) -> bool,
) -> Option<Datum> {
    if window.edge == Edge::Plain && window.histograms.is_empty() {
        let differ = |pair: &&[Point]| floats(pair[0].v, pair[1].v) || times(pair[0].t, pair[1].t);
        return Some(Datum::Float(window.points.windows(2).filter(differ).count() as f64));
    }
    let items = items(window);
    if window.edge == Edge::Anchored && items.last()?.time() <= window.start {
        return None;
    }
    let differ = |pair: &&[Item]| match pair {
        [Item::Float(a), Item::Float(b)] => floats(a.v, b.v) || times(a.t, b.t),
        [Item::Histogram(t, a), Item::Histogram(u, b)] => histograms(a, b) || times(*t, *u),
        _ => true,
    };
    Some(Datum::Float(items.windows(2).filter(differ).count() as f64))
}

pub(super) fn changes(window: &Window, _: &mut Remarks) -> Option<Datum> {
    pairs(window, |a, b| a != b && !(a.is_nan() && b.is_nan()), |a, b| !native::equal(a, b), |_, _| false)
}

pub(super) fn resets(window: &Window, _: &mut Remarks) -> Option<Datum> {
    pairs(window, |a, b| b < a, native::is_reset, |before, t| begun::is_reset(window.starts, before, t))
}

pub(super) fn count(window: &Window, _: &mut Remarks) -> Option<Datum> {
    Some(Datum::Float((window.points.len() + window.histograms.len()) as f64))
}

fn ends<'a>(window: &Window<'a>) -> Option<(Item<'a>, Item<'a>)> {
    let float = |point: Option<&Point>| point.map(|point| Item::Float(*point));
    let (first, last) = (float(window.points.first()), float(window.points.last()));
    let histograms = window.histograms;
    let (early, late) = (histograms.first(), histograms.last());
    let histogram = |item: Option<&'a (i64, Arc<FloatHistogram>)>| item.map(|(t, h)| Item::Histogram(*t, h));
    let first = first.into_iter().chain(histogram(early)).min_by_key(Item::time)?;
    let last = last.into_iter().chain(histogram(late)).max_by_key(Item::time)?;
    Some((first, last))
}

pub(super) fn first(window: &Window, _: &mut Remarks) -> Option<Datum> {
    Some(ends(window)?.0.datum())
}

pub(super) fn last(window: &Window, _: &mut Remarks) -> Option<Datum> {
    Some(ends(window)?.1.datum())
}

pub(super) fn time_of_first(window: &Window, _: &mut Remarks) -> Option<Datum> {
    Some(Datum::Float(ends(window)?.0.time() as f64 / 1000.0))
}

pub(super) fn time_of_last(window: &Window, _: &mut Remarks) -> Option<Datum> {
    Some(Datum::Float(ends(window)?.1.time() as f64 / 1000.0))
}

/// Numbers by one function, histograms by another, a mix of both by none.
fn either(
    window: &Window,
    remarks: &mut Remarks,
    floats: fn(&Window) -> f64,
    histograms: fn(&Window) -> Result<Option<Sum>, Incompatible>,
) -> Option<Datum> {
    if window.histograms.is_empty() {
        return Some(Datum::Float(floats(window)));
    }
    if !window.points.is_empty() {
        remarks.mixed(window.name);
        return None;
    }
    let Ok(sum) = histograms(window) else {
        remarks.layouts(window.name);
        return None;
    };
    let sum = sum?;
    if sum.collision || native::collide(window.histograms.iter().map(|(_, histogram)| histogram.as_ref())) {
        remarks.collision("aggregation");
    }
    if sum.reconciled {
        remarks.reconciled("aggregation");
    }
    Some(Datum::Histogram(Arc::new(sum.finish())))
}

pub(super) fn sum(window: &Window, remarks: &mut Remarks) -> Option<Datum> {
    either(
        window,
        remarks,
        |w| window::sum(w.values()),
        |w| native::total(w.histograms.iter().map(|(_, h)| h.as_ref())),
    )
}

pub(super) fn avg(window: &Window, remarks: &mut Remarks) -> Option<Datum> {
    let floats = |window: &Window| {
        let mut mean = Mean::default();
        window.values().for_each(|value| mean.add(value));
        mean.value()
    };
    either(window, remarks, floats, |w| native::mean(w.histograms.iter().map(|(_, h)| h.as_ref())))
}
