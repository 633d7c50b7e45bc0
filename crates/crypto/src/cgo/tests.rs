use super::{ClientLayer, RelayLayer, client_originate, client_receive};
use serde_json::Value;

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn sizes() {
    println!(
        "relay layer {} client {}",
        size_of::<RelayLayer<1084>>(),
        size_of::<ClientLayer<1084>>()
    );
    println!(
        "aes enc {} dec {} polyval {}",
        size_of::<aes::Aes128Enc>(),
        size_of::<aes::Aes128Dec>(),
        size_of::<polyval::Polyval>()
    );
}

#[test]
fn long_cells() {
    let file: Value = serde_json::from_str(include_str!("../../../../test/fixtures/cgo-1084.json")).unwrap();
    for case in file["forward"].as_array().unwrap() {
        let seeds: Vec<[u8; 80]> = case["seeds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|seed| unhex(seed).try_into().unwrap())
            .collect();
        let mut client: Vec<_> = seeds.iter().map(ClientLayer::<1084>::new).collect();
        let mut relays: Vec<_> = seeds.iter().map(RelayLayer::<1084>::new).collect();
        for cell in case["cells"].as_array().unwrap() {
            let command = unhex(&cell["command"])[0];
            let message: [u8; 1084] = unhex(&cell["message"]).try_into().unwrap();
            let (mut tag, mut body) = ([0; 16], message);
            client_originate(&mut client, command, &mut tag, &mut body);
            assert_eq!([&tag[..], &body].concat(), unhex(&cell["wire"]));
            for (hop, relay) in relays.iter_mut().enumerate() {
                assert_eq!(relay.forward(command, &mut tag, &mut body), hop == 2);
            }
            assert_eq!(body, message);
        }
    }
    for case in file["backward"].as_array().unwrap() {
        let seeds: Vec<[u8; 80]> = case["seeds"]
            .as_array()
            .unwrap()
            .iter()
            .map(|seed| unhex(seed).try_into().unwrap())
            .collect();
        let mut client: Vec<_> = seeds.iter().map(ClientLayer::<1084>::new).collect();
        let mut relays: Vec<_> = seeds.iter().map(RelayLayer::<1084>::new).collect();
        for cell in case["cells"].as_array().unwrap() {
            let command = unhex(&cell["command"])[0];
            let message: [u8; 1084] = unhex(&cell["message"]).try_into().unwrap();
            let (mut tag, mut body) = ([0; 16], message);
            relays[2].originate(command, &mut tag, &mut body);
            relays[1].pass_back(command, &mut tag, &mut body);
            relays[0].pass_back(command, &mut tag, &mut body);
            assert_eq!([&tag[..], &body].concat(), unhex(&cell["wire"]));
            assert_eq!(client_receive(&mut client, command, &mut tag, &mut body), Some(2));
            assert_eq!(body, message);
        }
    }
}
