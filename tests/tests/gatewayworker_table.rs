//! Checks docs/gatewayworker-table.md: no cell is empty, no function or property is missing, and
//! what it names exists.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

/// The public functions of `GatewayWorker\Lib\Gateway` and of `GatewayClient\Gateway`, without
/// those that connect the parts of PHP's implementation.
const FUNCTIONS: &[&str] = &[
    "batchGetClientIdByUid",
    "batchGetClientIdCountByGroup",
    "bindUid",
    "closeClient",
    "closeCurrentClient",
    "destoryClient",
    "destoryCurrentClient",
    "getAllClientCount",
    "getAllClientIdCount",
    "getAllClientIdList",
    "getAllClientInfo",
    "getAllClientSessions",
    "getAllGroupClientIdCount",
    "getAllGroupClientIdList",
    "getAllGroupIdList",
    "getAllGroupUidCount",
    "getAllGroupUidList",
    "getAllUidCount",
    "getAllUidList",
    "getClientCountByGroup",
    "getClientIdByUid",
    "getClientIdCountByGroup",
    "getClientIdListByGroup",
    "getClientInfoByGroup",
    "getClientSessionsByGroup",
    "getSession",
    "getUidByClientId",
    "getUidCountByGroup",
    "getUidListByGroup",
    "isOnline",
    "isUidOnline",
    "isUidsOnline",
    "joinGroup",
    "leaveGroup",
    "sendToAll",
    "sendToClient",
    "sendToCurrentClient",
    "sendToGroup",
    "sendToUid",
    "setSession",
    "setSocketSession",
    "unbindUid",
    "ungroup",
    "updateSession",
];

/// The callbacks of `Events`, and the properties of `Gateway`, `BusinessWorker`, `Register`,
/// `GatewayClient\Gateway` and of a gateway's connections.
const PROPERTIES: &[&str] = &[
    "$addressesCacheDisable",
    "$connectTimeout",
    "$connection->headers",
    "$connection->maxPackageSize",
    "$connection->websocketType",
    "$context['ssl']",
    "$persistentConnection",
    "$registerAddress",
    "$secretKey",
    "$selectLoadBalancingMode",
    "TcpConnection::$defaultMaxPackageSize",
    "count",
    "eventHandler",
    "gatewayConnections",
    "innerTcpWorkerListen",
    "lanIp",
    "lanPort",
    "name",
    "onBusinessWorkerClose",
    "onBusinessWorkerConnected",
    "onClose",
    "onConnect",
    "onMessage",
    "onWebSocketConnect",
    "onWorkerReload",
    "onWorkerStart",
    "onWorkerStop",
    "pingData",
    "pingInterval",
    "pingNotResponseLimit",
    "processTimeout",
    "processTimeoutHandler",
    "protocolAccelerate",
    "registerAddress",
    "reloadable",
    "reusePort",
    "router",
    "secretKey",
    "sendToClientBufferSize",
    "sendToGatewayBufferSize",
    "sendToWorkerBufferSize",
    "startPort",
    "transport",
    "user",
];

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The rows of all tables, without their heads: the cells of each.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/gatewayworker-table.md")).expect("the table");
    let is_row = |line: &&str| line.starts_with('|') && !line.starts_with("|---");
    let lines: Vec<&str> = text.lines().collect();
    let is_head = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("|---"));
    let rows = (0..lines.len()).filter(|at| is_row(&lines[*at]) && !is_head(*at));
    let cells = |at: usize| {
        let row = lines[at].trim_matches('|');
        row.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    rows.map(cells).collect()
}

/// The texts between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The Rust sources of the crates and the tests.
fn sources() -> Vec<(PathBuf, String)> {
    fn add(folder: &Path, to: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
                add(&path, to);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                to.push((path, text));
            }
        }
    }
    let mut sources = Vec::new();
    add(&root().join("crates"), &mut sources);
    add(&root().join("tests"), &mut sources);
    sources
}

#[test]
fn every_cell_is_filled() {
    let rows = rows();
    assert!(60 < rows.len(), "{} rows", rows.len());
    for row in rows {
        assert!(row.iter().all(|cell| !cell.is_empty()), "an empty cell: {row:?}");
        assert!(quoted(&row[0]).next().is_some(), "no name: {row:?}");
    }
}

#[test]
fn every_function_and_property_has_a_row() {
    let rows = rows();
    let named: Vec<&str> = rows.iter().flat_map(|row| quoted(&row[0])).collect();
    for name in FUNCTIONS.iter().chain(PROPERTIES) {
        assert!(named.contains(name), "{name} is in no row");
    }
}

/// The table says so: the original's scenario calls each function on both systems.
#[test]
fn every_function_is_called_by_the_comparison_with_the_original() {
    let scenario = include_str!("../compat/original/scenario.php");
    for name in FUNCTIONS {
        assert!(scenario.contains(&format!("'{name}'")), "{name}");
    }
}

#[test]
fn every_named_test_exists() {
    let mut tests: HashSet<(String, String)> = HashSet::new();
    for (path, text) in sources() {
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        for name in text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next()) {
            tests.insert((stem.clone(), name.to_owned()));
        }
    }
    for row in rows() {
        let mut named = 0;
        for test in quoted(row.last().expect("a cell")) {
            named += 1;
            let exists = match test.split_once("::") {
                Some((file, name)) => tests.contains(&(file.to_owned(), name.to_owned())),
                None => root().join(test).exists(),
            };
            assert!(exists, "{test} of {row:?}");
        }
        assert!(named != 0, "no test: {row:?}");
    }
}

#[test]
fn every_named_function_and_flag_exists() {
    let sources = sources();
    let public = |name: &str| {
        let (function, is_async) = (format!("pub fn {name}"), format!("pub async fn {name}"));
        let callback = format!("    fn {name}");
        let starts = |text: &str, what: &str| {
            text.match_indices(what).any(|(at, _)| text[at + what.len()..].starts_with(['(', '<']))
        };
        sources.iter().any(|(path, text)| {
            starts(text, &function)
                || starts(text, &is_async)
                || (path.ends_with("worker.rs") && starts(text, &callback))
        })
    };
    let flag = |name: &str| {
        let field = format!("{}:", name.replace('-', "_"));
        sources.iter().any(|(_, text)| {
            text.contains(&format!("pub {field}"))
                || text.contains(&format!("pub(super) {field}"))
                || text.contains(&format!("pub(crate) {field}"))
                || text.contains(&format!("    {field}"))
        })
    };
    for row in rows() {
        for name in quoted(&row[1]) {
            let word = |text: &str| {
                text.chars().take_while(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
            };
            if let Some(name) = name.strip_prefix("--") {
                let name: String = word(name);
                assert!(flag(&name), "--{name} of {row:?}");
                continue;
            }
            let of_type = ["Cluster::", "Client::"].iter().find_map(|it| name.strip_prefix(it));
            let is_function = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if let Some(name) = of_type.or(Some(name).filter(|_| is_function)) {
                assert!(public(name), "{name} of {row:?}");
            }
        }
    }
}
