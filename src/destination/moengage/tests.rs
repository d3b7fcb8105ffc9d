use super::percent_encoded;

#[test]
fn a_workspace_cannot_leave_its_place_in_the_path() {
    assert_eq!(percent_encoded("AB_c-1.~"), "AB_c-1.~");
    assert_eq!(percent_encoded("a/../b?c=d e%"), "a%2F..%2Fb%3Fc%3Dd%20e%25");
}
