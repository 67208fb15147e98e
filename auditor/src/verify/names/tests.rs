use super::{ChainName, Name};

#[test]
fn every_name_of_the_layout_is_known_and_no_other() {
    for object in [
        "verdicts/cluster=lab/namespace=shop/date=2026-01-02/hour=03/node-a-5c1f-000000000001.parquet",
        "verdicts/cluster=a%20b/namespace=_unknown/date=2026-01-02/hour=23/n-b-1000000000000.parquet",
        "coverage/cluster=lab/date=2026-01-02/node-a-5c1f-000000000001.parquet",
        "policies/cluster=lab/date=2026-01-02/node-a-5c1f-000000000001.parquet",
    ] {
        assert_eq!(Name::of(object), Name::Object, "{object}");
    }
    for stray in [
        "verdicts/cluster=lab/namespace=shop/date=2026-01-02/hour=24/node-a-5c1f-000000000001.parquet",
        "verdicts/cluster=lab/namespace=shop/date=2026-1-02/hour=03/node-a-5c1f-000000000001.parquet",
        "verdicts/cluster=lab/namespace=sh op/date=2026-01-02/hour=03/node-a-5c1f-000000000001.parquet",
        "verdicts/cluster=lab/namespace=shop/date=2026-01-02/hour=03/node-5c1f.parquet",
        "verdicts/cluster=lab/namespace=shop/date=2026-01-02/hour=03/node-a-5c1f-1.parquet",
        "verdicts/cluster=lab/namespace=shop/date=2026-01-02/hour=03/node-a-5c1f-000000000001.parquet.bak",
        "verdicts/README",
        "coverage/cluster=/date=2026-01-02/node-a-5c1f-000000000001.parquet",
        "coverage/cluster=l%61b/date=2026-01-02/node-a-5c1f-000000000001.parquet",
        "seals/cluster=lab/node=node-a/000000000001.json",
        "seals/cluster=lab/node=node-a/5c1f-000000000001.json.sig.sig",
        "deletions/cluster=lab/1.json",
        "keys/ab.pem",
    ] {
        assert_eq!(Name::of(stray), Name::Stray, "{stray}");
    }
    for outside in ["podwitness.json", "README.md", "keys", "other/verdicts/x"] {
        assert_eq!(Name::of(outside), Name::Outside, "{outside}");
    }
}

#[test]
fn a_document_is_of_a_chain() {
    let chain = ChainName { cluster: "lab".to_owned(), node: Some("node-a".to_owned()) };
    let seal = |signature| Name::Document { chain: chain.clone(), number: 7, signature };
    assert_eq!(Name::of("seals/cluster=lab/node=node-a/5c-1f-000000000007.json"), seal(false));
    assert_eq!(Name::of("seals/cluster=lab/node=node-a/5c-1f-000000000007.json.sig"), seal(true));
    let chain = ChainName { cluster: "lab".to_owned(), node: None };
    assert_eq!(
        Name::of("deletions/cluster=lab/000000000007.json"),
        Name::Document { chain, number: 7, signature: false }
    );
}
