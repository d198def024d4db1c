//! The network between the two ends of a connection delays, cuts and loses: whatever comes is whole or an error. For the
//! server's layer the client is a raw socket, for the others both ends are ours.

use std::time::Duration;

use super::{
    proxy::{Network, Passage},
    subject::{FREE, Layer, Subject, survives},
};

// One kind of harm each.

fn delay(subject: &Subject, layer: Layer) {
    let late = Passage::Delayed(Duration::from_millis(20));
    let network = Network {
        there: late,
        back: late,
    };
    assert!(subject.is_answered(layer, network));
}

fn trickle(subject: &Subject, layer: Layer) {
    let network = Network {
        there: Passage::Trickle,
        back: Passage::Trickle,
    };
    assert!(subject.is_answered(layer, network));
}

/// Some places in `length` bytes, both ends among them.
fn places(length: usize, count: usize) -> impl Iterator<Item = usize> {
    let step = length.div_ceil(count).max(1);
    (0..length).step_by(step).chain([length.saturating_sub(1)])
}

/// What is lost of TLS may be its end behind an answer that is whole.
fn lose_the_rest(subject: &Subject, layer: Layer) {
    let (there, back) = subject.length(layer);
    for place in places(layer.needed(there), 3) {
        let there = Passage::Lost(place);
        assert!(!subject.is_answered(layer, Network { there, ..FREE }));
    }
    for place in places(back, 3) {
        let back = Passage::Lost(place);
        let answered = subject.is_answered(layer, Network { back, ..FREE });
        assert!(!answered || layer == Layer::Tls, "{place}");
    }
}

/// Plain HTTP is cut at every byte; of TLS, whose records come whole or not at all, at many.
fn cut(subject: &Subject, layer: Layer) {
    let (there, back) = subject.length(layer);
    let count = if layer == Layer::Tls { 40 } else { usize::MAX };
    for place in places(layer.needed(there), count) {
        let there = Passage::Cut(place);
        assert!(
            !subject.is_answered(layer, Network { there, ..FREE }),
            "{place}"
        );
    }
    for place in places(back, count) {
        let back = Passage::Cut(place);
        // The end of TLS may be missing behind an answer that is whole.
        let answered = subject.is_answered(layer, Network { back, ..FREE });
        assert!(!answered || layer == Layer::Tls, "{place}");
    }
}

fn reset(subject: &Subject, layer: Layer) {
    let (there, back) = subject.length(layer);
    for place in places(layer.needed(there), 15) {
        let there = Passage::Reset(place);
        assert!(
            !subject.is_answered(layer, Network { there, ..FREE }),
            "{place}"
        );
    }
    for place in places(back, 15) {
        // What was passed may be overtaken, or not.
        let back = Passage::Reset(place);
        subject.is_answered(layer, Network { back, ..FREE });
    }
}

/// A request and the end of its client arrive together, an answer and the end of its server.
fn hold_until_the_end(subject: &Subject, layer: Layer) {
    let held = Passage::HeldUntilTheEnd;
    // Our client ends its side only when it gives up; TLS and our WebSockets have a handshake to make.
    let there = subject.is_answered(
        layer,
        Network {
            there: held,
            ..FREE
        },
    );
    let ends_its_side = matches!(layer, Layer::Server | Layer::WebSocket);
    assert_eq!(there, ends_its_side);
    let back = subject.is_answered(layer, Network { back: held, ..FREE });
    let waits = matches!(layer, Layer::Tls | Layer::WebSocketClient);
    assert_eq!(back, !waits);
}

#[test]
fn the_server_sits_out_delays() {
    survives(Layer::Server, |subject| delay(subject, Layer::Server));
}

#[test]
fn the_client_sits_out_delays() {
    survives(Layer::Client, |subject| delay(subject, Layer::Client));
}

#[test]
fn tls_sits_out_delays() {
    survives(Layer::Tls, |subject| delay(subject, Layer::Tls));
}

#[test]
fn the_server_takes_one_byte_at_a_time() {
    survives(Layer::Server, |subject| trickle(subject, Layer::Server));
}

#[test]
fn the_client_takes_one_byte_at_a_time() {
    survives(Layer::Client, |subject| trickle(subject, Layer::Client));
}

#[test]
fn tls_takes_one_byte_at_a_time() {
    survives(Layer::Tls, |subject| trickle(subject, Layer::Tls));
}

#[test]
fn the_server_ends_connections_whose_rest_is_lost() {
    survives(Layer::Server, |subject| {
        lose_the_rest(subject, Layer::Server)
    });
}

#[test]
fn the_client_ends_requests_whose_rest_is_lost() {
    survives(Layer::Client, |subject| {
        lose_the_rest(subject, Layer::Client)
    });
}

#[test]
fn tls_ends_connections_whose_rest_is_lost() {
    survives(Layer::Tls, |subject| lose_the_rest(subject, Layer::Tls));
}

#[test]
fn the_server_takes_no_exchange_that_is_cut_at_any_byte_for_whole() {
    survives(Layer::Server, |subject| cut(subject, Layer::Server));
}

#[test]
fn the_client_takes_no_exchange_that_is_cut_at_any_byte_for_whole() {
    survives(Layer::Client, |subject| cut(subject, Layer::Client));
}

#[test]
fn tls_takes_no_exchange_that_is_cut_for_whole() {
    survives(Layer::Tls, |subject| cut(subject, Layer::Tls));
}

#[test]
fn the_server_outlives_resets() {
    survives(Layer::Server, |subject| reset(subject, Layer::Server));
}

#[test]
fn the_client_outlives_resets() {
    survives(Layer::Client, |subject| reset(subject, Layer::Client));
}

#[test]
fn tls_outlives_resets() {
    survives(Layer::Tls, |subject| reset(subject, Layer::Tls));
}

#[test]
fn the_server_takes_data_that_comes_with_its_end() {
    survives(Layer::Server, |subject| {
        hold_until_the_end(subject, Layer::Server)
    });
}

#[test]
fn the_client_takes_data_that_comes_with_its_end() {
    survives(Layer::Client, |subject| {
        hold_until_the_end(subject, Layer::Client)
    });
}

#[test]
fn tls_takes_data_that_comes_with_its_end() {
    survives(Layer::Tls, |subject| {
        hold_until_the_end(subject, Layer::Tls)
    });
}

#[test]
fn websockets_sit_out_delays() {
    survives(Layer::WebSocket, |subject| delay(subject, Layer::WebSocket));
}

#[test]
fn websockets_take_one_byte_at_a_time() {
    survives(Layer::WebSocket, |subject| {
        trickle(subject, Layer::WebSocket)
    });
}

#[test]
fn websockets_whose_rest_is_lost_end() {
    survives(Layer::WebSocket, |subject| {
        lose_the_rest(subject, Layer::WebSocket)
    });
}

#[test]
fn no_websocket_that_is_cut_at_any_byte_is_taken_for_whole() {
    survives(Layer::WebSocket, |subject| cut(subject, Layer::WebSocket));
}

#[test]
fn websockets_outlive_resets() {
    survives(Layer::WebSocket, |subject| reset(subject, Layer::WebSocket));
}

#[test]
fn websockets_take_data_that_comes_with_their_end() {
    survives(Layer::WebSocket, |subject| {
        hold_until_the_end(subject, Layer::WebSocket)
    });
}

#[test]
fn websockets_of_scripts_sit_out_delays() {
    survives(Layer::WebSocketClient, |subject| {
        delay(subject, Layer::WebSocketClient)
    });
}

#[test]
fn websockets_of_scripts_take_one_byte_at_a_time() {
    survives(Layer::WebSocketClient, |subject| {
        trickle(subject, Layer::WebSocketClient)
    });
}

#[test]
fn websockets_of_scripts_whose_rest_is_lost_end() {
    survives(Layer::WebSocketClient, |subject| {
        lose_the_rest(subject, Layer::WebSocketClient)
    });
}

#[test]
fn no_websocket_of_a_script_that_is_cut_at_any_byte_is_taken_for_whole() {
    survives(Layer::WebSocketClient, |subject| {
        cut(subject, Layer::WebSocketClient)
    });
}

#[test]
fn websockets_of_scripts_outlive_resets() {
    survives(Layer::WebSocketClient, |subject| {
        reset(subject, Layer::WebSocketClient)
    });
}

#[test]
fn websockets_of_scripts_whose_handshake_is_held_back_end() {
    survives(Layer::WebSocketClient, |subject| {
        hold_until_the_end(subject, Layer::WebSocketClient)
    });
}
