//! The natives behind `luau/answers.luau`: files and routes.

use std::{
    cell::RefCell,
    io,
    path::PathBuf,
    rc::Rc,
    task::{Context, Poll},
};

use mlua::prelude::{Lua, LuaAnyUserData, LuaResult, LuaString, LuaTable, LuaValue};
use mlua::{BString, IntoLuaMulti};

use super::{Script, scheduler::Delivery};
use crate::engine::{
    file_body::FileBody,
    files::{self, FileAnswer, FileAnswerBody, FileRequest, FolderOptions},
    service::BodySource,
};

/// The natives behind `luau/answers.luau`.
///
/// # Errors
/// When the VM has no memory left.
pub fn natives(lua: &Lua, script: &Rc<Script>) -> LuaResult<LuaTable> {
    let native = lua.create_table()?;
    let weak = Rc::downgrade(script);
    let folder = move |_: &Lua, (folder, options, request): (LuaString, LuaTable, LuaTable)| {
        let Some(script) = weak.upgrade() else {
            return Ok(None);
        };
        let folder = PathBuf::from(folder.to_string_lossy());
        let options = FolderOptions {
            index: options.get("index")?,
            max_age: options.get("maxage")?,
            dot_files: options.get("dotfiles")?,
        };
        let request = file_request(&request)?;
        Ok(Some(start(&script, move || {
            Ok(files::answer(&folder, &options, &request))
        })))
    };
    native.set("folder", lua.create_function(folder)?)?;
    let weak = Rc::downgrade(script);
    let single = move |_: &Lua, (path, request): (LuaString, LuaTable)| {
        let Some(script) = weak.upgrade() else {
            return Ok(None);
        };
        let path = PathBuf::from(path.to_string_lossy());
        let request = file_request(&request)?;
        Ok(Some(start(&script, move || files::single(&path, &request))))
    };
    native.set("single", lua.create_function(single)?)?;
    native.set(
        "router",
        lua.create_function(|lua, patterns: Vec<String>| router(lua, &patterns))?,
    )?;
    native.set("route", lua.create_function(route)?)?;
    Ok(native)
}

fn file_request(request: &LuaTable) -> LuaResult<FileRequest> {
    Ok(FileRequest {
        method: request.get("method")?,
        path: request.get("path")?,
        if_match: request.get("if-match")?,
        if_unmodified_since: request.get("if-unmodified-since")?,
        if_none_match: request.get("if-none-match")?,
        if_modified_since: request.get("if-modified-since")?,
        if_range: request.get("if-range")?,
        range: request.get("range")?,
    })
}

/// Looks at the file on the blocking pool.
fn start(
    script: &Rc<Script>,
    look: impl FnOnce() -> io::Result<FileAnswer> + Send + 'static,
) -> u64 {
    let weak = Rc::downgrade(script);
    script.scheduler.start(async move {
        let answer = smol::unblock(look)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Box::new(move |lua: &Lua| match weak.upgrade() {
            Some(script) => deliver(lua, &script, answer),
            None => ().into_lua_multi(lua),
        }) as Delivery)
    })
}

/// Status, headers, body (a string or the number of a source), and what went wrong in the server.
fn deliver(lua: &Lua, script: &Script, answer: FileAnswer) -> LuaResult<mlua::MultiValue> {
    let headers = lua.create_table()?;
    for (name, value) in answer.fields {
        headers.set(name, value)?;
    }
    let body = match answer.body {
        FileAnswerBody::Empty => LuaValue::Nil,
        FileAnswerBody::Text(body) => LuaValue::String(lua.create_string(body)?),
        FileAnswerBody::File {
            file,
            start,
            length,
        } => {
            headers.set("Content-Length", length.to_string())?;
            let source = FileSource(FileBody::new(file, start, length));
            LuaValue::Number(script.sources.insert(script, Box::new(source)) as f64)
        }
    };
    let failure = answer.failure.map(|error| error.to_string());
    (answer.status, headers, body, failure).into_lua_multi(lua)
}

/// A file's bytes as the body of an answer.
struct FileSource(FileBody);

impl BodySource for FileSource {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        self.0.poll_next(context)
    }
}

/// The patterns of a `server.routes`, each with its position in the list.
struct Routes(RefCell<matchit::Router<usize>>);

/// A router for `patterns`, or nil and which of them can't be.
fn router(lua: &Lua, patterns: &[String]) -> LuaResult<(Option<LuaAnyUserData>, Option<String>)> {
    let mut router = matchit::Router::new();
    for (position, pattern) in patterns.iter().enumerate() {
        if let Err(problem) = router.insert(translated(pattern), position) {
            return Ok((None, Some(format!("invalid route '{pattern}' ({problem})"))));
        }
    }
    Ok((
        Some(lua.create_any_userdata(Routes(RefCell::new(router)))?),
        None,
    ))
}

/// `/users/:id/*rest` as matchit writes it.
fn translated(pattern: &str) -> String {
    let segments = pattern.split('/').map(|segment| {
        let literal = || segment.replace('{', "{{").replace('}', "}}");
        match (segment.strip_prefix(':'), segment.strip_prefix('*')) {
            (Some(name), _) if !name.is_empty() => format!("{{{name}}}"),
            (_, Some(name)) if !name.is_empty() => format!("{{*{name}}}"),
            _ => literal(),
        }
    });
    segments.collect::<Vec<_>>().join("/")
}

/// The position (from 1) of the pattern that a path matches, and its parameters, percent-decoded; or nil.
fn route(
    lua: &Lua,
    (routes, path): (LuaAnyUserData, LuaString),
) -> LuaResult<(Option<usize>, Option<LuaTable>)> {
    let routes = routes.borrow::<Routes>()?;
    let routes = routes.0.borrow();
    let path = path.to_string_lossy();
    let Ok(found) = routes.at(&path) else {
        return Ok((None, None));
    };
    let parameters = found.params.iter().map(|(name, value)| {
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(value).collect();
        (name, BString::from(decoded))
    });
    let table = lua.create_table_from(parameters)?;
    Ok((Some(found.value + 1), Some(table)))
}
