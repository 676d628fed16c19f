//! Real servers, unchanged.

use std::fs;

use super::*;
use support::{LISTS_BOUND_SOCKETS, Program, on_stage};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn python_s_http_server_restarts_at_once() {
    if !on_stage(&[SETPRIV, NEEDS_PYTHON]) {
        return;
    }
    for user in USERS {
        let program = words(&format!("{PYTHON} -m http.server 8080"));
        let answer = restart_test(user, &["--ready=http=/etc/"], &program);
        answer.assert("at_once", 0);
    }
}

#[test]
fn nginx_restarts_at_once_unless_its_master_is_killed_alone() {
    if !on_stage(&[
        SETPRIV,
        Program("nginx", "nginx-light"),
        LISTS_BOUND_SOCKETS,
    ]) {
        return;
    }
    for user in USERS {
        let folder = open_folder();
        let path = folder.path().display();
        let configuration = format!(
            "daemon off; pid {path}/pid; error_log stderr; worker_processes 2;\n\
             events {{}}\n\
             http {{\n\
             client_body_temp_path {path}; proxy_temp_path {path}; fastcgi_temp_path {path};\n\
             uwsgi_temp_path {path}; scgi_temp_path {path}; access_log off;\n\
             server {{ listen 8080; return 200; }}\n\
             }}\n"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).expect("there is room");
        let program = words(&format!("nginx -e stderr -c {}", file.display()));

        let answer = restart_test(user, &["--ready=http=/"], &program);

        answer.assert("fails", 1);
        for round in answer.json["rounds"].as_array().expect("rounds") {
            let is_killed_alone = round["way"] == "child_left";
            assert_eq!(round["at_once"], !is_killed_alone, "{user:?} {round}");
        }
        let leftover = answer.round("child_left")["leftover"].as_array();
        assert_eq!(leftover.map(Vec::len), Some(2), "{}", answer.json);
        assert_eq!(answer.fixes(), ["children_end_with_parent"]);
    }
}

#[test]
fn socat_does_not_restart_and_with_its_option_it_does() {
    if !on_stage(&[SETPRIV, Program("socat", "socat"), LISTS_BOUND_SOCKETS]) {
        return;
    }
    for user in USERS {
        let ways = "--ways=idle,server_closes_first,sigkill";
        let program = words("socat tcp4-listen:8080,fork -");
        let answer = restart_test(user, &[ways], &program);
        answer.assert("fails", 1);
        assert_eq!(answer.outcome("idle"), "at_once", "{}", answer.json);
        assert_eq!(answer.fixes(), ["set_reuseaddr"]);

        let program = words("socat tcp4-listen:8080,fork,reuseaddr -");
        restart_test(user, &[ways], &program).assert("at_once", 0);
    }
}
