//! What identifies a state of a file, and the preconditions that refer to it (RFC 9110 §8.8, §13).

use std::{
    fs::Metadata,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::FileRequest;

/// A file this much older than now has a time of modification that no later change will get. RFC 9110 §8.8.2.2 asks for
/// one second; FAT counts in twos.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// The end of the year 9999: later dates can't be written (RFC 9110 §5.6.7).
const END_OF_DATES: u64 = 253_402_300_800;

/// A file's entity tag and time of modification.
///
/// The tag is made of length and time of modification in nanoseconds, not of the bytes, which would all have to be read.
/// File systems keep time in ticks (Linux: up to 10 ms), so of two changes within one tick that leave the length alone the
/// second goes unseen. That is why the tag of a file modified just now is weak, and becomes strong when a further change is
/// sure to get another time (RFC 9110 §8.8.1), as Apache does it; always weak, no download could be resumed by it (§13.1.5).
/// Not covered: a change that leaves the length alone and sets the old time again (`touch -d`, `cp -p`, archives unpacked
/// with fixed times).
pub(super) struct Validators {
    tag: String,
    /// Seconds since 1970; `None` for what an HTTP-date can't say, such as a time before that.
    modified: Option<u64>,
    settled: bool,
}

/// What the preconditions make of a GET or HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precondition {
    /// The answer is what it would be without any.
    Passed,
    /// 304: the client has this state already.
    NotModified,
    /// 412: the client wanted another state.
    Failed,
}

impl Validators {
    /// Those of a file in the state that `metadata` shows.
    ///
    /// # Errors
    /// When the system keeps no time of modification.
    pub(super) fn new(metadata: &Metadata, now: SystemTime) -> io::Result<Self> {
        Ok(Self::of(metadata.len(), metadata.modified()?, now))
    }

    fn of(length: u64, modified: SystemTime, now: SystemTime) -> Self {
        let settled = now
            .duration_since(modified)
            .is_ok_and(|age| age >= SETTLED_AFTER);
        let weak = if settled { "" } else { "W/" };
        let (sign, since) = match modified.duration_since(UNIX_EPOCH) {
            Ok(since) => ("", since),
            Err(before) => ("-", before.duration()),
        };
        // A date in the future would not be valid (§8.8.2.1).
        let modified = modified.min(now).duration_since(UNIX_EPOCH);
        Self {
            tag: format!("{weak}\"{length:x}-{sign}{:x}\"", since.as_nanos()),
            modified: modified
                .ok()
                .map(|since| since.as_secs())
                .filter(|seconds| *seconds < END_OF_DATES),
            settled,
        }
    }

    /// The value of `ETag` (§8.8.3).
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// The value of `Last-Modified` (§8.8.2).
    pub(super) fn date(&self) -> Option<String> {
        let seconds = Duration::from_secs(self.modified?);
        Some(httpdate::fmt_http_date(UNIX_EPOCH + seconds))
    }

    /// Steps 1 to 4 of §13.2.2, for GET and HEAD.
    pub(super) fn check(&self, request: &FileRequest) -> Precondition {
        let wanted = match (&request.if_match, &request.if_unmodified_since) {
            (Some(tags), _) => self.matches_any(tags, Self::matches_strongly),
            (None, Some(date)) => self.unmodified_since(date).unwrap_or(true),
            (None, None) => true,
        };
        if !wanted {
            return Precondition::Failed;
        }
        let known = match (&request.if_none_match, &request.if_modified_since) {
            (Some(tags), _) => self.matches_any(tags, Self::matches_weakly),
            (None, Some(date)) => self.unmodified_since(date).unwrap_or(false),
            (None, None) => false,
        };
        if known {
            return Precondition::NotModified;
        }
        Precondition::Passed
    }

    /// Step 5 of §13.2.2: whether `Range` counts. It does for GET alone (§14.2), and with `If-Range` only while the
    /// client's part is of this very state (§13.1.5).
    pub(super) fn range_applies(&self, request: &FileRequest) -> bool {
        if request.method != "GET" {
            return false;
        }
        match request.if_range.as_deref() {
            None => true,
            Some(tag) if tag.ends_with('"') => self.matches_strongly(tag),
            Some(date) => self.settled && self.modified.is_some() && seconds(date) == self.modified,
        }
    }

    /// Whether `tags` is `*` or a list with a tag that matches. After what is no tag nothing more is read.
    fn matches_any(&self, tags: &str, matches: fn(&Self, &str) -> bool) -> bool {
        tags.trim() == "*" || EntityTags { rest: tags }.any(|tag| matches(self, tag))
    }

    /// §8.8.3.2: the same, and neither is weak.
    fn matches_strongly(&self, tag: &str) -> bool {
        self.settled && self.tag == tag
    }

    /// §8.8.3.2: the same but for `W/`.
    fn matches_weakly(&self, tag: &str) -> bool {
        opaque(tag) == opaque(&self.tag)
    }

    /// `None` when that can't be said: `date` is none, or the file has none (§13.1.3, §13.1.4).
    fn unmodified_since(&self, date: &str) -> Option<bool> {
        Some(self.modified? <= seconds(date)?)
    }
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// An HTTP-date in any of its three forms (RFC 9110 §5.6.7), in seconds since 1970.
fn seconds(date: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(date).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// The entity tags of a list (RFC 9110 §8.8.3), with quotes and `W/`. A tag may hold commas, so `list_elements` won't do.
struct EntityTags<'f> {
    rest: &'f str,
}

impl<'f> Iterator for EntityTags<'f> {
    type Item = &'f str;

    fn next(&mut self) -> Option<&'f str> {
        let list = self.rest.trim_start_matches([' ', '\t', ',']);
        let prefix = list.len() - opaque(list).len();
        let content = list[prefix..].strip_prefix('"')?;
        let end = prefix + 1 + content.find('"')? + 1;
        let (tag, rest) = list.split_at(end);
        self.rest = rest;
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 784_111_777;
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// Of a file modified half a second after [`DATE`], long ago.
    fn settled() -> Validators {
        Validators::of(0x20, at(NOW) + Duration::from_millis(500), at(NOW + 60))
    }

    fn fresh() -> Validators {
        Validators::of(0x20, at(NOW), at(NOW))
    }

    fn request(fields: &[(&str, &str)]) -> FileRequest {
        let mut request = FileRequest {
            method: "GET".to_owned(),
            ..FileRequest::default()
        };
        for (name, value) in fields {
            let field = match *name {
                "If-Match" => &mut request.if_match,
                "If-Unmodified-Since" => &mut request.if_unmodified_since,
                "If-None-Match" => &mut request.if_none_match,
                "If-Modified-Since" => &mut request.if_modified_since,
                _ => &mut request.if_range,
            };
            *field = Some((*value).to_owned());
        }
        request
    }

    fn check(fields: &[(&str, &str)]) -> Precondition {
        settled().check(&request(fields))
    }

    #[test]
    fn a_tag_holds_length_and_nanoseconds() {
        assert_eq!(settled().tag(), "\"20-ae1b981da166f00\"");
        let other = |length, nanos| {
            let modified = at(NOW) + Duration::from_nanos(nanos);
            Validators::of(length, modified, at(NOW + 60)).tag
        };
        assert_ne!(other(0x20, 0), other(0x21, 0));
        assert_ne!(other(0x20, 0), other(0x20, 100));
    }

    #[test]
    fn the_tag_of_a_file_modified_just_now_is_weak_until_its_time_has_passed() {
        let age = |seconds| Validators::of(1, at(NOW), at(NOW + seconds)).tag;
        assert_eq!(age(0), format!("W/{}", age(2)));
        assert_eq!(age(1), format!("W/{}", age(2)));
        assert!(age(2).starts_with('"'));
    }

    #[test]
    fn last_modified_is_never_in_the_future_as_of_rfc_9110_section_8_8_2_1() {
        let validators = Validators::of(1, at(NOW + 3600), at(NOW));
        assert_eq!(validators.date().as_deref(), Some(DATE));
        assert!(validators.tag().starts_with("W/"));
    }

    #[test]
    fn times_that_no_http_date_can_say_give_a_tag_but_no_date() {
        let old = UNIX_EPOCH - Duration::from_secs(1);
        let validators = Validators::of(1, old, at(NOW));
        assert_eq!(validators.tag(), "\"1--3b9aca00\"");
        assert_eq!(validators.date(), None);
        for field in ["If-Modified-Since", "If-Unmodified-Since"] {
            let request = request(&[(field, BEFORE)]);
            assert_eq!(validators.check(&request), Precondition::Passed);
        }
        let late = at(END_OF_DATES);
        assert_eq!(Validators::of(1, late, late).date(), None);
    }

    #[test]
    fn if_none_match_compares_weakly_with_each_tag_of_a_list_as_of_rfc_9110_section_13_1_2() {
        let tag = settled().tag;
        for list in [
            "*".to_owned(),
            tag.clone(),
            format!("W/{tag}"),
            format!("\"a\", {tag}"),
            format!("\"a,b\",W/\"c\" ,, {tag}, \"d\""),
            format!("\"\",{tag}"),
        ] {
            let known = check(&[("If-None-Match", &list)]);
            assert_eq!(known, Precondition::NotModified, "{list}");
        }
        let bare = tag.trim_matches('"');
        for list in [
            String::new(),
            "\"a\"".to_owned(),
            bare.to_owned(),
            format!("w/{tag}"),
            format!("\"{bare}"),
            format!("a, {tag}"),
            format!("\"a, {bare}, b\""),
        ] {
            assert_eq!(
                check(&[("If-None-Match", &list)]),
                Precondition::Passed,
                "{list}"
            );
        }
        let weak = fresh();
        let strong = request(&[("If-None-Match", opaque(weak.tag()))]);
        assert_eq!(weak.check(&strong), Precondition::NotModified);
    }

    #[test]
    fn if_modified_since_counts_whole_seconds_and_only_valid_dates_as_of_rfc_9110_section_13_1_3() {
        for (date, expected) in [
            (DATE, Precondition::NotModified),
            (AFTER, Precondition::NotModified),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Precondition::NotModified),
            ("Sun Nov  6 08:49:37 1994", Precondition::NotModified),
            (BEFORE, Precondition::Passed),
            ("yesterday", Precondition::Passed),
            ("", Precondition::Passed),
        ] {
            assert_eq!(check(&[("If-Modified-Since", date)]), expected, "{date}");
        }
    }

    #[test]
    fn if_none_match_silences_if_modified_since_as_of_rfc_9110_section_13_2_2() {
        let fields = [("If-None-Match", "\"a\""), ("If-Modified-Since", AFTER)];
        assert_eq!(check(&fields), Precondition::Passed);
        let tag = settled().tag;
        let fields = [("If-None-Match", &*tag), ("If-Modified-Since", BEFORE)];
        assert_eq!(check(&fields), Precondition::NotModified);
    }

    #[test]
    fn if_match_compares_strongly_and_fails_first_as_of_rfc_9110_section_13_1_1() {
        let tag = settled().tag;
        assert_eq!(check(&[("If-Match", &tag)]), Precondition::Passed);
        assert_eq!(check(&[("If-Match", "*")]), Precondition::Passed);
        assert_eq!(
            check(&[("If-Match", &format!("W/{tag}"))]),
            Precondition::Failed
        );
        let both = [("If-Match", "\"a\""), ("If-None-Match", &*tag)];
        assert_eq!(check(&both), Precondition::Failed);
        let both = [("If-Match", &*tag), ("If-Unmodified-Since", BEFORE)];
        assert_eq!(check(&both), Precondition::Passed);
        let weak = fresh();
        assert_eq!(
            weak.check(&request(&[("If-Match", weak.tag())])),
            Precondition::Failed
        );
    }

    #[test]
    fn if_unmodified_since_fails_for_a_file_modified_later_as_of_rfc_9110_section_13_1_4() {
        for (date, expected) in [
            (DATE, Precondition::Passed),
            (BEFORE, Precondition::Failed),
            ("yesterday", Precondition::Passed),
        ] {
            assert_eq!(check(&[("If-Unmodified-Since", date)]), expected, "{date}");
        }
    }

    #[test]
    fn if_range_wants_the_very_state_by_strong_tag_or_date_as_of_rfc_9110_section_13_1_5() {
        let applies = |validators: &Validators, value: &str| {
            validators.range_applies(&request(&[("If-Range", value)]))
        };
        let tag = settled().tag;
        assert!(settled().range_applies(&request(&[])));
        assert!(applies(&settled(), &tag));
        assert!(applies(&settled(), DATE));
        for value in [
            "\"a\"",
            &format!("W/{tag}"),
            "*",
            BEFORE,
            AFTER,
            "yesterday",
            "",
        ] {
            assert!(!applies(&settled(), value), "{value}");
        }
        let weak = fresh();
        assert!(!applies(&weak, weak.tag()) && !applies(&weak, opaque(weak.tag())));
        assert!(!applies(&weak, DATE));
    }

    #[test]
    fn a_range_means_nothing_to_head_as_of_rfc_9110_section_14_2() {
        let request = FileRequest {
            method: "HEAD".to_owned(),
            ..request(&[])
        };
        assert!(!settled().range_applies(&request));
    }
}
