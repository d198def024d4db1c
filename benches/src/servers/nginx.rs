//! nginx with its Lua module: one worker, no access log, and an answer made in `content_by_lua_block`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::contract::Handler;
use crate::peers::Certificate;

/// Where Debian puts the modules.
const MODULES: &str = "/usr/lib/nginx/modules";

/// Writes the configuration into `folder`, and returns the command that runs it.
pub fn command(
    folder: &Path,
    port: u16,
    handler: Handler,
    certificate: Option<&Certificate>,
) -> Result<Command> {
    let prefix = folder.join(format!("nginx-{port}"));
    fs::create_dir_all(&prefix).with_context(|| prefix.display().to_string())?;
    let file = prefix.join("nginx.conf");
    fs::write(&file, configuration(&prefix, port, handler, certificate))
        .with_context(|| file.display().to_string())?;
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(&prefix)
        .arg("-c")
        .arg(&file)
        .args(["-e", "stderr"]);
    Ok(command)
}

fn configuration(
    prefix: &Path,
    port: u16,
    handler: Handler,
    certificate: Option<&Certificate>,
) -> String {
    let prefix = prefix.display();
    // Workers of root would become `nobody`, who may not enter the temporary folder.
    let user = if rustix::process::getuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let (tls, certificate_lines) = match certificate {
        Some(Certificate { chain, key }) => {
            let (chain, key) = (chain.display(), key.display());
            (
                " ssl",
                format!("ssl_certificate {chain}; ssl_certificate_key {key};"),
            )
        }
        None => ("", String::new()),
    };
    let content = content(handler);
    format!(
        r#"
load_module {MODULES}/ndk_http_module.so;
load_module {MODULES}/ngx_http_lua_module.so;
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {prefix}/nginx.pid;
error_log stderr error;
events {{ worker_connections 16384; }}
http {{
	access_log off;
	client_body_temp_path {prefix}/body;
	proxy_temp_path {prefix}/proxy;
	fastcgi_temp_path {prefix}/fastcgi;
	uwsgi_temp_path {prefix}/uwsgi;
	scgi_temp_path {prefix}/scgi;
	# The default, 1000, would end the connections under measurement.
	keepalive_requests 1000000000;
	init_by_lua_block {{ large = string.rep("x", 1024 * 1024) }}
	server {{
		listen 127.0.0.1:{port}{tls};
		{certificate_lines}
		location / {{
			default_type text/plain;
			content_by_lua_block {{
				{content}
				ngx.header["Content-Length"] = #body
				ngx.print(body)
			}}
		}}
	}}
}}
"#
    )
}

fn content(handler: Handler) -> &'static str {
    match handler {
        Handler::Hello | Handler::Work => r#"local body = "Hello, World!""#,
        Handler::Read => {
            r#"local body = ngx.req.get_headers()["x-greeting"] .. ", " .. ngx.req.get_uri_args().name .. "!""#
        }
        Handler::Echo => "ngx.req.read_body() local body = ngx.req.get_body_data()",
        Handler::Large => "local body = large",
        Handler::Wait => r#"ngx.sleep(0) local body = "Hello, World!""#,
    }
}
