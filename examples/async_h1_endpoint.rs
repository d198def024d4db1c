//! An async-h1 server whose endpoint is a Luau handler, on one thread with the scripts.
//!
//! ```sh
//! cargo run --features async-h1 --example async_h1_endpoint            # open the address that it prints
//! cargo run --features async-h1 --example async_h1_endpoint -- --check # asks itself and ends
//! ```

use std::error::Error;

use http_types::{Method, Request, Url};
use lute_net::Runtime;
use smol::net::{TcpListener, TcpStream};

const HANDLER: &str = r#"
local task = require("@lute/task")
local visits = 0
return function(request)
	visits += 1
	local mine = visits
	task.wait(0.01) -- others are answered meanwhile
	return { headers = { ["Content-Type"] = "text/plain" }, body = `visit {mine} to {request.path}\n` }
end
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let check = std::env::args().any(|argument| argument == "--check");
    let runtime = Runtime::builder().build()?;
    let handler = runtime.lua().load(HANDLER).set_name("=handler").eval()?;
    let endpoint = runtime.endpoint(&handler)?;
    let listener = smol::block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    println!("an async-h1 server on http://{address}/");

    let engine = runtime.engine().clone();
    let serving = engine.clone().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let endpoint = endpoint.clone();
            let client = engine.spawn(async move { async_h1::accept(stream, endpoint).await });
            client.detach();
        }
    });
    if !check {
        return Ok(runtime.block_on(serving)?);
    }
    let url = Url::parse(&format!("http://{address}/hello"))?;
    let answer = runtime.block_on(async {
        let stream = TcpStream::connect(address).await?;
        let mut response = async_h1::connect(stream, Request::new(Method::Get, url)).await?;
        response.body_string().await
    })?;
    let answer = answer.map_err(|error| error.to_string())?;
    print!("{answer}");
    if answer != "visit 1 to /hello\n" {
        return Err("that was not asked".into());
    }
    Ok(())
}
