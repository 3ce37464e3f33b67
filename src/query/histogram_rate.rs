//! Rates of native histograms. Everything that holds for numbers holds for each bucket.

use std::sync::Arc;

use crate::model::FloatHistogram;
use crate::model::histogram::ResetHint;

use super::annotation::Remarks;
use super::ast::Edge;
use super::begun;
use super::eval::Datum;
use super::native::{Incompatible, Sum, combined, is_custom, is_reset, scaled};
use super::rate::{RateKind, Sampled};
use super::window::Window;

type At = (i64, Arc<FloatHistogram>);

fn is_gauge(histogram: &FloatHistogram) -> bool {
    histogram.reset_hint == ResetHint::Gauge
}

/// Remarks on histograms that are not of the sort that the function is for.
fn check_kind(samples: &[At], window: &Window, counter: bool, remarks: &mut Remarks) {
    if counter && samples.iter().any(|(_, histogram)| is_gauge(histogram)) {
        remarks.warn(format!("this native histogram metric is not a counter: {:?}", window.name));
    }
    let ends = samples.first().into_iter().chain(samples.last());
    if !counter && ends.into_iter().any(|(_, histogram)| !is_gauge(histogram)) {
        remarks.warn(format!("this native histogram metric is not a gauge: {:?}", window.name));
    }
}

/// `rate`, `increase` and `delta` of a window of histograms only.
pub(super) fn rate(window: &Window, kind: RateKind, remarks: &mut Remarks) -> Option<FloatHistogram> {
    if window.edge != Edge::Plain {
        return edged_rate(window, kind, remarks);
    }
    let samples = window.histograms;
    let (first_time, _) = samples.first()?;
    let zero = kind.counter.then(|| begun::zero_inside(window, *first_time)).flatten();
    let [(_, first), rest @ .., (last_time, last)] = samples else {
        // A single sample tells something if it is known when it was zero.
        let [(last_time, only)] = samples else { return None };
        let (first, last, count) = (*last_time, *last_time, only.count);
        let sampled = Sampled { zero: Some(zero?), first, last, gaps: 0, begin: count, risen: count };
        let mut result = scaled(only, sampled.factor(window, kind), false);
        result.reset_hint = ResetHint::Gauge;
        return Some(result);
    };
    let second = rest.first().map_or(last, |(_, histogram)| histogram);
    // A reset right after the first sample makes its layout meaningless: nothing is subtracted then.
    let second_time = rest.first().map_or(*last_time, |(t, _)| *t);
    let anew = is_reset(first, second) || begun::is_reset(window.starts, *first_time, second_time);
    let start = match kind.counter && anew {
        true => FloatHistogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..FloatHistogram::default()
        },
        false => FloatHistogram::clone(first),
    };
    check_kind(samples, window, kind.counter, remarks);
    let custom = is_custom(&start);
    let layouts = |h: &FloatHistogram| is_custom(h) == custom;
    if !layouts(last) || (kind.counter && !rest.iter().all(|(_, histogram)| layouts(histogram))) {
        remarks.layouts(window.name);
        return None;
    }
    let result = risen(&start, window, kind, zero.is_some(), remarks);
    let Ok(result) = result else {
        remarks.layouts(window.name);
        return None;
    };
    let sampled = Sampled {
        zero,
        first: *first_time,
        last: *last_time,
        gaps: samples.len() - 1,
        begin: first.count,
        risen: result.count,
    };
    let mut result = scaled(&result, sampled.factor(window, kind), false);
    result.reset_hint = ResetHint::Gauge;
    Some(result)
}

/// The last sample minus `start`, what was lost at resets, and the first sample if the counter was zero before it.
fn risen(
    start: &FloatHistogram,
    window: &Window,
    kind: RateKind,
    from_zero: bool,
    remarks: &mut Remarks,
) -> Result<FloatHistogram, Incompatible> {
    let samples = window.histograms;
    let Some((_, last)) = samples.last() else { return Err(Incompatible) };
    let mut sum = Sum::of(last);
    sum.add(start, -1.0)?;
    if std::mem::take(&mut sum.reconciled) {
        remarks.reconciled("subtraction");
    }
    if kind.counter {
        begun::check_overlaps(window, samples.iter().map(|(t, _)| *t), remarks);
        let mut before = start;
        for pair in samples.windows(2) {
            let ((time, _), (t, histogram)) = (&pair[0], &pair[1]);
            if is_reset(before, histogram) || begun::is_reset(window.starts, *time, *t) {
                sum.add(before, 1.0)?;
            }
            before = histogram;
        }
        if let Some((_, first)) = samples.first().filter(|_| from_zero) {
            sum.add(first, 1.0)?;
        }
        if sum.reconciled {
            remarks.reconciled("addition");
        }
    }
    Ok(sum.finish())
}

/// The same over a window whose edges have values of their own: no extrapolation.
fn edged_rate(window: &Window, kind: RateKind, remarks: &mut Remarks) -> Option<FloatHistogram> {
    let (samples, smoothed) = (window.histograms, window.edge == Edge::Smoothed);
    let mut last = samples.len().checked_sub(1)?;
    let first = samples[..last].partition_point(|(t, _)| *t <= window.start).saturating_sub(1);
    if smoothed {
        last = samples[..last].partition_point(|(t, _)| *t < window.end);
    }
    if samples[last].0 <= window.start || samples[first].0 > window.end {
        return None;
    }
    let used = samples.get(first..=last)?;
    check_kind(used, window, kind.counter, remarks);
    let computed = || -> Result<(FloatHistogram, bool), Incompatible> {
        let cut_left = smoothed && samples[first].0 < window.start && first < last;
        let left = match cut_left {
            true => between(&samples[first], &samples[first + 1], window.start, kind.counter)?,
            false => FloatHistogram::clone(&samples[first].1),
        };
        let right = match smoothed && last > 0 && samples[last].0 > window.end {
            true => between(&samples[last - 1], &samples[last], window.end, kind.counter)?,
            false => FloatHistogram::clone(&samples[last].1),
        };
        let mut sum = Sum::of(&right);
        sum.add(&left, -1.0)?;
        if kind.counter {
            // A left edge between two samples has the reset between them behind it already.
            for pair in used.windows(2).skip(usize::from(cut_left)) {
                if is_reset(&pair[0].1, &pair[1].1) {
                    sum.add(&pair[0].1, 1.0)?;
                }
            }
        }
        let reconciled = sum.reconciled;
        Ok((sum.finish(), reconciled))
    };
    let Ok((mut result, reconciled)) = computed() else {
        remarks.layouts(window.name);
        return None;
    };
    if reconciled {
        remarks.reconciled("subtraction");
    }
    if kind.per_second {
        result = scaled(&result, window.seconds(), true);
    }
    result.reset_hint = ResetHint::Gauge;
    Some(result)
}

/// On the line between two samples; a counter that was reset in between begins at zero.
fn between(a: &At, b: &At, time: i64, counter: bool) -> Result<FloatHistogram, Incompatible> {
    let share = (time - a.0) as f64 / (b.0 - a.0) as f64;
    if is_custom(&a.1) != is_custom(&b.1) {
        return Err(Incompatible);
    }
    if counter && is_reset(&a.1, &b.1) {
        return Ok(scaled(&b.1, share, false));
    }
    let hint = b.1.reset_hint;
    let difference = combined(&b.1, &a.1, -1.0)?.finish();
    let mut sum = Sum::of(&a.1);
    sum.add(&scaled(&difference, share, false), 1.0)?;
    Ok(FloatHistogram { reset_hint: hint, ..sum.finish() })
}

/// A smoothed instant selector over the histograms around `time`.
pub(super) fn smoothed_at(samples: &[At], time: i64, name: &str, remarks: &mut Remarks) -> Option<Arc<FloatHistogram>> {
    let next = samples.partition_point(|(t, _)| *t <= time);
    let before = next.checked_sub(1).and_then(|index| samples.get(index));
    let after = samples.get(next).filter(|(_, histogram)| !histogram.is_stale());
    match (before, after) {
        (Some((_, a)), _) if a.is_stale() => None,
        (Some(a), Some(b)) if a.0 < time => match between(a, b, time, !is_gauge(&a.1) && !is_gauge(&b.1)) {
            Ok(histogram) => Some(Arc::new(histogram)),
            Err(Incompatible) => {
                remarks.layouts(name);
                None
            }
        },
        (Some((_, only)), _) | (None, Some((_, only))) => Some(Arc::clone(only)),
        (None, None) => None,
    }
}

/// `irate` and `idelta` of two neighbours.
pub(super) fn instant_rate(a: &At, b: &At, window: &Window, counter: bool, remarks: &mut Remarks) -> Option<Datum> {
    check_kind(&[a.clone(), b.clone()], window, counter, remarks);
    let mut result = FloatHistogram::clone(&b.1);
    let anew = counter && (is_reset(&a.1, &b.1) || begun::is_reset(window.starts, a.0, b.0));
    if !anew {
        let Ok(sum) = combined(&b.1, &a.1, -1.0) else {
            remarks.layouts(window.name);
            return None;
        };
        if sum.reconciled {
            remarks.reconciled("subtraction");
        }
        result = sum.finish();
    }
    if counter {
        result = scaled(&result, (b.0 - a.0) as f64 / 1000.0, true);
    }
    result.reset_hint = ResetHint::Gauge;
    Some(Datum::Histogram(Arc::new(result)))
}
