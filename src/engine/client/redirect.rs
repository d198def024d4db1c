//! What a redirect makes of a request (RFC 9110 §15.4).

use url::Url;

use super::{ClientError, ClientRequest, Fields, Redirects, RequestBody};

/// Fields that say who is asking: not for another origin.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "host"];

/// Fields that describe a body: not for a request without one.
const OF_BODY: [&str; 5] = [
    "content-encoding",
    "content-language",
    "content-location",
    "content-type",
    "content-range",
];

/// Where a response sends its request.
pub struct Redirect {
    /// The next URL.
    pub url: Url,
    /// Whether method and body stay as they are; otherwise it is a GET without body.
    pub keeps_body: bool,
}

/// The redirects of one request.
#[derive(Default)]
pub struct Hops {
    followed: u32,
}

impl Hops {
    /// The redirect to follow after a response with this status and these fields, if it is one. Errors call the server by its
    /// `origin`.
    ///
    /// # Errors
    /// When the request's options forbid it, or it leads nowhere.
    pub fn next(
        &mut self,
        request: &ClientRequest,
        status: u16,
        fields: &Fields,
        origin: impl Fn() -> String,
    ) -> Result<Option<Redirect>, ClientError> {
        let redirects = request.options.redirects;
        let limit = match redirects {
            Redirects::Manual => return Ok(None),
            Redirects::Refuse => 0,
            Redirects::Follow(limit) => limit,
        };
        let Some(redirect) = of_response(request, status, fields, &origin)? else {
            return Ok(None);
        };
        if redirects == Redirects::Refuse {
            let to = without_credentials(redirect.url).to_string();
            return Err(ClientError::Redirected(origin(), to));
        }
        if self.followed == limit {
            return Err(ClientError::TooManyRedirects(origin(), limit));
        }
        self.followed += 1;
        Ok(Some(redirect))
    }
}

/// The redirect that a response with this status and these fields is, if it is one.
///
/// # Errors
/// When its `Location` is no URL that can be requested.
fn of_response(
    request: &ClientRequest,
    status: u16,
    fields: &Fields,
    origin: impl Fn() -> String,
) -> Result<Option<Redirect>, ClientError> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = fields.get("location") else {
        return Ok(None);
    };
    let location = String::from_utf8_lossy(location);
    let refused = |to, problem| ClientError::BadRedirect(origin(), to, problem);
    let mut url = request.url.join(&location).map_err(|_| {
        // What stands before the last @ may be a password.
        let behind = location.rsplit('@').next().unwrap_or_default();
        refused(behind.escape_debug().to_string(), "that is no url")
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        let to = without_credentials(url).to_string();
        return Err(refused(to, "only http and https are followed"));
    }
    // RFC 9110 §10.2.2
    if url.fragment().is_none() {
        url.set_fragment(request.url.fragment());
    }
    let keeps_body = match (status, request.method.as_str()) {
        (303, method) => method == "HEAD",
        (301 | 302, method) => method != "POST",
        _ => true,
    };
    Ok(Some(Redirect { url, keeps_body }))
}

/// The URL as it may be shown.
pub fn without_credentials(mut url: Url) -> Url {
    // They can't be refused where they can be there: with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

impl Redirect {
    /// The body for the next request: none, or the last one's, which `repeatable` gives if it can be sent again.
    ///
    /// # Errors
    /// When it can't.
    pub fn next_body(
        &self,
        repeatable: impl FnOnce() -> Option<RequestBody>,
        origin: impl Fn() -> String,
    ) -> Result<RequestBody, ClientError> {
        if !self.keeps_body {
            return Ok(RequestBody::Empty);
        }
        repeatable().ok_or_else(|| {
            let url = without_credentials(self.url.clone()).to_string();
            let problem = "the streamed body cannot be sent again";
            ClientError::BadRedirect(origin(), url, problem)
        })
    }

    /// Makes `request` the one that follows; its body is not touched.
    pub fn apply(self, request: &mut ClientRequest) {
        let same_origin = request.url.origin() == self.url.origin();
        let is_one_of = |names: &[&str], name: &[u8]| {
            names
                .iter()
                .any(|own| own.as_bytes().eq_ignore_ascii_case(name))
        };
        if !same_origin || !self.keeps_body {
            request.fields = request.fields.only(|name| {
                (same_origin || !is_one_of(&CREDENTIALS, name))
                    && (self.keeps_body || !is_one_of(&OF_BODY, name))
            });
        }
        if !self.keeps_body && request.method != "HEAD" {
            "GET".clone_into(&mut request.method);
        }
        request.url = self.url.into();
    }
}
