//! What the service's answers say.

use serde_json::Value;

use super::history::Told;
use crate::stage::client::Reply;

/// What a reply says about its request.
pub fn told(reply: &Reply) -> Told {
    let Ok(body) = serde_json::from_slice::<Value>(&reply.body) else { return odd(reply) };
    match about(reply.status.as_u16(), &body, &body, reply.replayed()) {
        Some(Told::Counted { replayed, update, .. }) => {
            Told::Counted { replayed, update, body: Some(reply.body.clone()) }
        }
        Some(told) => told,
        None => odd(reply),
    }
}

/// The same for each item of a batch.
pub fn told_of_batch(reply: Option<&Reply>, items: usize) -> Vec<Told> {
    let Some(reply) = reply else { return vec![Told::Nothing; items] };
    let Ok(body) = serde_json::from_slice::<Value>(&reply.body) else { return vec![odd(reply); items] };
    if !reply.status.is_success() {
        let told = about(reply.status.as_u16(), &body, &body, false).unwrap_or_else(|| odd(reply));
        return vec![told; items];
    }
    let results = body["results"].as_array().filter(|results| results.len() == items);
    let Some(results) = results else { return vec![odd(reply); items] };
    let item = |result: &Value| {
        let status = result["status"].as_u64().and_then(|status| u16::try_from(status).ok())?;
        about(status, &result["update"], &result["problem"], result["replayed"] == true)
    };
    results.iter().map(|result| item(result).unwrap_or_else(|| odd(reply))).collect()
}

/// What a status says, with an update or a problem; nothing if the contract has no such answer.
fn about(status: u16, update: &Value, problem: &Value, replayed: bool) -> Option<Told> {
    let code = || problem["code"].as_str().map(ToOwned::to_owned);
    let applied_no = problem["applied"] == "no";
    match status {
        201 => Some(Told::Counted { replayed, update: update.to_string(), body: None }),
        409 => Some(Told::Refused { replayed, code: code()? }),
        422 => {
            let differs = problem["differs"].as_array()?.iter().map(|field| field.as_str().map(ToOwned::to_owned));
            let mut differs: Vec<String> = differs.collect::<Option<_>>()?;
            differs.sort();
            (code()? == "idempotency-key-reused").then_some(Told::Reused { differs, applied_no })
        }
        404 => ["work-order-unknown", "update-unknown"]
            .contains(&code()?.as_str())
            .then_some(Told::Undecided { code: code()?, applied_no }),
        408 | 429 | 503 => Some(Told::Undecided { code: code()?, applied_no }),
        _ => None,
    }
}

fn odd(reply: &Reply) -> Told {
    Told::Odd(format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body)))
}
