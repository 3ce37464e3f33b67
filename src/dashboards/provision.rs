//! Grafana's provisioning files: where the dashboards lie, and which Prometheus they ask.
//!
//! The layout is that of Grafana's own provisioning folder, so that the written folder can be mounted there as it is:
//! `dashboards/dashboards.yaml`, `datasources/datasources.yaml`, and one folder of dashboards per provider beside them.

use crate::model::duration::format_duration;

use super::File;
use super::Settings;
use super::page::MARK;

/// A folder of ours: its name on disk, which is the provider's too.
pub(super) const MINERS: &str = "miners";
/// Docker engines and containers.
pub(super) const DOCKER: &str = "docker";
/// Davylamp itself.
pub(super) const ITSELF: &str = "itself";

/// Both files, for the folders that hold a dashboard.
pub(super) fn files(settings: &Settings, dashboards: &[File]) -> [File; 2] {
    [
        File { path: "dashboards/dashboards.yaml".to_string(), content: providers(settings, dashboards) },
        File { path: "datasources/datasources.yaml".to_string(), content: datasource(settings) },
    ]
}

/// One provider per folder: `foldersFromFilesStructure` knows one level only and lets Grafana choose the folder's uid.
fn providers(settings: &Settings, dashboards: &[File]) -> String {
    let titles = &settings.folders;
    let folders = [(MINERS, &titles.miners), (DOCKER, &titles.docker), (ITSELF, &titles.itself)];
    let mut text = format!("# {MARK}\napiVersion: 1\nproviders:\n");
    for (name, title) in folders {
        let prefix = format!("{name}/");
        if !dashboards.iter().any(|file| file.path.starts_with(&prefix)) {
            continue;
        }
        let path = format!("{}/{name}", settings.grafana_path.trim_end_matches('/'));
        let (folder, path) = (scalar(title), scalar(&path));
        // Folder and dashboard uids share one name space on older servers, hence the word "folder".
        text.push_str(&format!(
            r"  - name: davylamp-{name}
    orgId: 1
    type: file
    folder: {folder}
    folderUid: davylamp-folder-{name}
    disableDeletion: false
    allowUiUpdates: false
    updateIntervalSeconds: 30
    options:
      path: {path}
      foldersFromFilesStructure: false
"
        ));
    }
    text
}

fn datasource(settings: &Settings) -> String {
    let (name, uid) = (scalar(&settings.datasource_name), scalar(&settings.datasource_uid));
    let (url, interval) = (scalar(&settings.prometheus_url), scalar(&format_duration(settings.scrape_interval)));
    // Never the default: a second default data source keeps Grafana from starting.
    format!(
        r"# {MARK}
apiVersion: 1
datasources:
  - name: {name}
    uid: {uid}
    type: prometheus
    access: proxy
    orgId: 1
    url: {url}
    isDefault: false
    editable: false
    jsonData:
      httpMethod: POST
      prometheusType: Prometheus
      timeInterval: {interval}
"
    )
}

/// A quoted YAML scalar. Grafana expands `$NAME` in these files from its environment; `$$` is a plain dollar.
fn scalar(value: &str) -> String {
    serde_json::Value::from(value.replace('$', "$$")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_titles_stay_what_they_are() {
        let odd = r#"a "b": {{ c }} $HOME # d \"#;
        let mut settings = Settings::default();
        settings.folders.miners = odd.to_string();
        settings.datasource_name = odd.to_string();
        let dashboard = File { path: "miners/x.json".to_string(), content: String::new() };
        for file in files(&settings, &[dashboard]) {
            let yaml: serde_yaml::Value = serde_yaml::from_str(&file.content).unwrap();
            let first = yaml.get("providers").or(yaml.get("datasources")).and_then(|list| list.get(0)).unwrap();
            let title = first.get("folder").or(first.get("name")).and_then(serde_yaml::Value::as_str);
            assert_eq!(title.map(|title| title.replace("$$", "$")).as_deref(), Some(odd), "{}", file.path);
        }
    }

    #[test]
    fn only_folders_with_a_dashboard_have_a_provider() {
        let dashboard = File { path: "itself/x.json".to_string(), content: String::new() };
        let text = providers(&Settings::default(), &[dashboard]);
        assert_eq!(text.matches("- name:").count(), 1, "{text}");
        assert!(text.contains("path: \"/etc/grafana/provisioning/itself\""), "{text}");
    }
}
