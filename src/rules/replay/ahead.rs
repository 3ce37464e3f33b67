//! A source read in pieces that reach ahead: a replay asks for nearly the same samples at every step, and each question to
//! a daemon or to compressed files costs far more than the samples that it brings.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::model::Matcher;
use crate::model::Point;
use crate::model::Series;
use crate::model::Source;
use crate::model::SourceError;
use crate::rules::samples::cut;

/// How far ahead is read at first, in milliseconds. Halved when a piece turns out to be too large.
const AHEAD: i64 = 6 * 3_600_000;
/// Less than this ahead is none.
const LEAST_AHEAD: i64 = 1_000;
/// Samples held in all, 16 bytes each.
const MOST_SAMPLES: usize = 4_000_000;
/// Samples of one piece from which on less is read ahead.
const LARGE_PIECE: usize = MOST_SAMPLES / 8;

/// Reads another source ahead and keeps what it read, within a bound.
pub struct Ahead<S> {
    pub(super) inner: S,
    /// Nothing is read ahead beyond.
    until: i64,
    kept: Mutex<Kept>,
}

struct Kept {
    ahead: i64,
    pieces: HashMap<String, Vec<Piece>>,
    samples: usize,
    /// Counts questions, to know which piece was not asked for the longest.
    questions: u64,
}

struct Piece {
    start: i64,
    end: i64,
    series: Vec<Series>,
    samples: usize,
    asked: u64,
}

impl<S: Source> Ahead<S> {
    /// Reads ahead up to `until`, milliseconds since the epoch.
    pub fn new(inner: S, until: i64) -> Self {
        let kept = Kept { ahead: AHEAD, pieces: HashMap::new(), samples: 0, questions: 0 };
        Ahead { inner, until, kept: Mutex::new(kept) }
    }

    fn read(&self, kept: &mut Kept, matchers: &[Matcher], start: i64, end: i64) -> Result<Piece, SourceError> {
        loop {
            let reach = end.saturating_add(kept.ahead).min(self.until).max(end);
            match self.inner.select(matchers, start, reach) {
                Ok(series) => {
                    let samples = series.iter().map(|series| series.points.len() + series.histograms.len()).sum();
                    if samples > LARGE_PIECE {
                        kept.shorten();
                    }
                    return Ok(Piece { start, end: reach, series, samples, asked: kept.questions });
                }
                Err(SourceError::TooManySamples { .. }) if reach > end => {
                    kept.shorten();
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Kept {
    fn shorten(&mut self) {
        self.ahead = if self.ahead / 2 < LEAST_AHEAD { 0 } else { self.ahead / 2 };
    }

    /// Keeps a piece, in place of those that it holds and of those that nobody asked for lately.
    fn keep(&mut self, key: &str, piece: Piece) {
        self.samples += piece.samples;
        let same = self.pieces.entry(key.to_string()).or_default();
        same.retain(|old| {
            let stays = old.start < piece.start || old.end > piece.end;
            self.samples -= if stays { 0 } else { old.samples };
            stays
        });
        same.push(piece);
        while self.samples > MOST_SAMPLES {
            let all = self.pieces.iter().flat_map(|(key, pieces)| pieces.iter().map(move |piece| (piece.asked, key)));
            let Some((asked, key)) = all.min().map(|(asked, key)| (asked, key.clone())) else { break };
            let Some(same) = self.pieces.get_mut(&key) else { break };
            same.retain(|piece| {
                self.samples -= if piece.asked == asked { piece.samples } else { 0 };
                piece.asked != asked
            });
        }
    }
}

fn part(piece: &Piece, start: i64, end: i64) -> Vec<Series> {
    let cut_one = |series: &Series| Series {
        labels: series.labels.clone(),
        points: cut(&series.points, start, end, |point: &Point| point.t),
        histograms: cut(&series.histograms, start, end, |(t, _)| *t),
        starts: series.starts.cut(start, end),
    };
    let parts = piece.series.iter().map(cut_one);
    parts.filter(|series| !series.points.is_empty() || !series.histograms.is_empty()).collect()
}

impl<S: Source> Source for Ahead<S> {
    fn select(&self, matchers: &[Matcher], start: i64, end: i64) -> Result<Vec<Series>, SourceError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.questions += 1;
        let questions = kept.questions;
        let key = matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let pieces = kept.pieces.entry(key.clone()).or_default();
        if let Some(piece) = pieces.iter_mut().find(|piece| piece.start <= start && end <= piece.end) {
            piece.asked = questions;
            return Ok(part(piece, start, end));
        }
        let piece = self.read(&mut kept, matchers, start, end)?;
        let found = part(&piece, start, end);
        kept.keep(&key, piece);
        Ok(found)
    }

    fn interrupted(&self) -> bool {
        self.inner.interrupted()
    }
}
