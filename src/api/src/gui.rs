//! One page for people: what is served here, and where.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::settings::Settings;

/// What scripts on the page may want to know; the id and the names are those of Kuma's GUI.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PageConfig<'a> {
    base_gui_path: &'a str,
    api_url: &'a str,
    version: &'a str,
    product: &'static str,
    mode: &'static str,
    environment: &'static str,
    store_type: &'a str,
    api_read_only: bool,
}

/// Where browsers find the page: what `/` tells as `gui`; empty when there is none.
pub(crate) fn url(settings: &Settings) -> &str {
    if !is_enabled(settings) {
        ""
    } else if settings.gui.root_url.is_empty() {
        &settings.gui.base_path
    } else {
        &settings.gui.root_url
    }
}

fn is_enabled(settings: &Settings) -> bool {
    settings.gui.enabled && !settings.is_federated_zone()
}

/// The page when the path is below the GUI's; it asks for no credential.
pub(crate) fn page(settings: &Settings, path: &str) -> Option<Response> {
    let base = settings.gui.base_path.trim_end_matches('/');
    let below = path.strip_prefix(base).filter(|_| !base.is_empty())?;
    if below.is_empty() {
        let to = HeaderValue::from_str(&format!("{base}/")).ok()?;
        return Some((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response());
    }
    below.starts_with('/').then(|| html(&render(settings, base)))
}

fn html(text: &str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], text.to_owned()).into_response()
}

fn render(settings: &Settings, base: &str) -> String {
    if !is_enabled(settings) {
        return page_of(base, "", "<p>The GUI is disabled on this control plane.</p>");
    }
    let api = if settings.root_url.is_empty() { &settings.base_path } else { &settings.root_url };
    let config = PageConfig {
        base_gui_path: base,
        api_url: api,
        version: &settings.version,
        product: "Kuma",
        mode: settings.mode_name(),
        environment: "universal",
        store_type: &settings.store_type,
        api_read_only: settings.read_only,
    };
    let config = serde_json::to_string(&config).unwrap_or_default().replace('<', "\\u003c");
    let links = [
        "",
        "meshes",
        "dataplanes/_overview",
        "zones/_overview",
        "mesh-insights",
        "global-insight",
        "policies",
        "_resources",
        "config",
    ];
    let api = escape(api.trim_end_matches('/'));
    let links: String =
        links.iter().map(|path| format!("<li><a href=\"{api}/{path}\">{api}/{path}</a></li>")).collect();
    let script = format!("<script type=\"application/json\" id=\"kuma-config\">{config}</script>");
    page_of(base, &script, &format!("<p>This control plane answers on its REST API:</p><ul>{links}</ul>"))
}

fn page_of(base: &str, head: &str, body: &str) -> String {
    let base = escape(base);
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Kuma</title>\
         <base href=\"{base}/\">{head}</head><body><h1>Kuma</h1>{body}</body></html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_found_below_its_path_only() {
        let settings = Settings::default();
        assert_eq!(page(&settings, "/gui").map(|r| r.status()), Some(StatusCode::TEMPORARY_REDIRECT));
        assert_eq!(page(&settings, "/gui/any/route").map(|r| r.status()), Some(StatusCode::OK));
        assert!(page(&settings, "/guix").is_none() && page(&settings, "/meshes").is_none());
    }

    #[test]
    fn a_federated_zone_has_no_page() {
        let site = model::labels::Site::Zone { name: "z".to_owned(), federated: true, kubernetes: false };
        let settings = Settings { site, ..Settings::default() };
        assert_eq!(url(&settings), "");
        assert!(render(&settings, "/gui").contains("disabled"));
    }
}
