//! What a label looks like, and which labels are one part (section 3).

use serde_json::json;

use crate::shop::{Shop, is_problem};

pub async fn pitfall_30_labels_that_look_the_same_are_one_part(shop: &Shop) {
    let order = shop.thousand().await;
    let count = async |barcode: &str| order.scan(&json!({ "counter": "input", "barcode": barcode })).await;
    assert_eq!(count("WA2080ZWJ0926").await.status, 201);
    for invisible in ['\u{feff}', '\u{200b}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{200c}', '\u{ad}'] {
        for barcode in [format!("{invisible}WA2080ZWJ0926"), format!("WA2080{invisible}ZWJ0926{invisible}")] {
            is_problem(&count(&barcode).await, 409, "barcode-already-counted", &format!("{barcode:?}"));
        }
    }
    assert_eq!(count("010460123\u{1d}21ABC").await.status, 201);
    for barcode in [
        "\u{1d}010460123\u{1d}21ABC",
        "]C1010460123\u{1d}21ABC",
        "]d2010460123\u{1d}21ABC",
        "010460123\u{1d}21ABC\u{1d}",
        "]Q3\u{1d}010460123\u{1d}21ABC\u{4}\r\n",
    ] {
        is_problem(&count(barcode).await, 409, "barcode-already-counted", &format!("{barcode:?}"));
    }
    for nothing in ["\u{1d}", "\u{200b}", "]C1", " \u{feff}\t"] {
        is_problem(&count(nothing).await, 422, "invalid-field", &format!("{nothing:?}"));
    }
    assert_eq!(order.standing().await["input_quantity"], 2);
}

pub async fn pitfall_44_common_labels_are_taken_whole(shop: &Shop) {
    let order = shop.thousand().await;
    let marking = format!("010460123456789021{}\u{1d}91EE06\u{1d}92{}", "aZ".repeat(30), "k".repeat(44));
    let url = format!("https://id.gs1.org/01/09506000134352/21/{}?17=290331&10=LOT-2026", "7".repeat(120));
    for barcode in [
        "[)>\u{1e}06\u{1d}PWA2080\u{1d}SZWJ0926\u{1e}\u{4}".to_owned(),
        marking,
        url,
        "A".repeat(512),
        "界".repeat(341),
    ] {
        let counted = order.counted(&json!({ "counter": "input", "barcode": barcode })).await;
        assert_eq!(counted["barcode"], barcode, "as sent");
        let again = order.scan(&json!({ "counter": "input", "barcode": format!(" {}\r\n", barcode.trim()) })).await;
        assert!([409, 422].contains(&again.status.as_u16()), "one part, or too long: {again:?}");
    }
    for barcode in ["A".repeat(513), "界".repeat(342), "A\u{1}B".to_owned(), "A\nB".to_owned()] {
        let reply = order.scan(&json!({ "counter": "input", "barcode": barcode })).await;
        is_problem(&reply, 422, "invalid-field", &barcode);
    }
}

pub async fn pitfall_76_what_does_not_match_the_pattern_is_refused(shop: &Shop) {
    let pattern = "WA2080[A-Z]{3}[0-9]{4}";
    let order = shop.order(&json!({ "planned_quantity": 100, "barcode_pattern": pattern })).await;
    let count = async |barcode: &str| order.scan(&json!({ "counter": "input", "barcode": barcode })).await;
    assert_eq!(count(" ＷＡ2080ZWJ0926\u{200b}").await.status, 201, "the canonical form is matched");
    for barcode in ["E1024", "WA2080ZWJ09", "WA2080ZWJ0926WA2080ZWJ0927"] {
        is_problem(&count(barcode).await, 409, "barcode-mismatch", barcode);
    }
    order.counted(&json!({ "counter": "input" })).await;
    for (bad, why) in [
        (json!("("), "no regular expression"),
        (json!("a)(b"), "none by itself"),
        (json!("x".repeat(257)), "too long"),
        (json!("(?:[a-z]{100}){100}"), "too large"),
        (json!(7), "no text"),
    ] {
        let reply = order.put(&json!({ "planned_quantity": 100, "barcode_pattern": bad })).await;
        is_problem(&reply, 422, "invalid-field", why);
        assert_eq!(reply.json()["errors"][0]["field"], "barcode_pattern");
    }
    let open = order.put(&json!({ "planned_quantity": 100 })).await.json();
    assert_eq!(open["barcode_pattern"], json!(null), "what is omitted takes its default");
    assert_eq!(count("E1024").await.status, 201);
}

pub async fn blank_text_is_no_text(shop: &Shop) {
    let order = shop.thousand().await;
    let key = crate::stage::unique("k");
    let blank = json!({ "counter": "input", "station": "", "terminal": " ", "operator": "\u{3000}", "note": "" });
    let first = order.client.scan(&order.number, &key, &blank).await;
    assert_eq!((first.status.as_u16(), &first.json()["station"]), (201, &json!(null)), "{first:?}");
    let absent = order.client.scan(&order.number, &key, &json!({ "counter": "input", "step": "\u{200b}" })).await;
    assert_eq!((absent.status.as_u16(), &absent.body), (201, &first.body), "one request");
}
