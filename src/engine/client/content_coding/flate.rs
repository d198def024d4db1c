//! `gzip` (RFC 1952) and `deflate` (RFC 1950, and the bare RFC 1951 that some servers send for it).

use flate2::{Decompress, FlushDecompress, Status};

use super::{Coding, Step};

/// The largest window, 32 KiB, as everybody uses.
const WINDOW_BITS: u8 = 15;

/// Any number of gzip members, one behind the other.
pub struct Gzip {
    member: Decompress,
    state: State,
    /// Whether a member has ended: what follows may be another one, or nothing that matters.
    again: bool,
}

enum State {
    /// Before a member.
    Between,
    Inside,
    /// What follows is no member, and is dropped, as everybody does.
    Over,
}

impl Default for Gzip {
    fn default() -> Self {
        Self {
            member: Decompress::new_gzip(WINDOW_BITS),
            state: State::Between,
            again: false,
        }
    }
}

impl Coding for Gzip {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str> {
        const MAGIC: [u8; 2] = [0x1f, 0x8b];
        match self.state {
            State::Over => return Ok(Step::only_used(input.len())),
            State::Between if self.again => {
                if input.len() < 2 && MAGIC.starts_with(input) {
                    return Ok(Step::only_used(0));
                }
                if !input.starts_with(&MAGIC) {
                    self.state = State::Over;
                    return Ok(Step::only_used(input.len()));
                }
                self.member = Decompress::new_gzip(WINDOW_BITS);
            }
            State::Between | State::Inside => {}
        }
        if input.is_empty() && matches!(self.state, State::Between) {
            return Ok(Step::only_used(0));
        }
        self.state = State::Inside;
        let (step, ended) = inflate(&mut self.member, input, output)?;
        if ended {
            self.state = State::Between;
            self.again = true;
        }
        Ok(step)
    }

    fn may_end(&self) -> bool {
        self.again && !matches!(self.state, State::Inside)
    }
}

/// One zlib stream, or one of bare deflate.
#[derive(Default)]
pub struct Deflate {
    stream: Option<Decompress>,
    ended: bool,
}

impl Coding for Deflate {
    fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, &'static str> {
        if self.ended {
            return Ok(Step::only_used(input.len()));
        }
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let [first, second, ..] = input else {
                    return Ok(Step::only_used(0));
                };
                none.insert(Decompress::new(is_zlib(*first, *second)))
            }
        };
        let (step, ended) = inflate(stream, input, output)?;
        self.ended = ended;
        Ok(step)
    }

    fn may_end(&self) -> bool {
        self.ended
    }
}

/// RFC 1950 §2.2: method 8, and a multiple of 31.
fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8 && u16::from_be_bytes([first, second]).is_multiple_of(31)
}

/// What was done, and whether the stream has ended.
fn inflate(
    stream: &mut Decompress,
    input: &[u8],
    output: &mut [u8],
) -> Result<(Step, bool), &'static str> {
    let before = (stream.total_in(), stream.total_out());
    let status = stream.decompress(input, output, FlushDecompress::None);
    let step = Step {
        used: (stream.total_in() - before.0) as usize,
        made: (stream.total_out() - before.1) as usize,
    };
    match status {
        Ok(Status::StreamEnd) => Ok((step, true)),
        Ok(Status::Ok | Status::BufError) => Ok((step, false)),
        Err(_) => Err("it is not what deflate or gzip make"),
    }
}
