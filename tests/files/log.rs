//! A log of records with a length and a checksum, as a spool or a history has it: the program under
//! test for crashes.

use std::path::Path;

use twistor::files::{self, AppendFile, FileError};

/// Encodes a record: length, checksum, payload.
pub fn encode(payload: &[u8]) -> Vec<u8> {
    let mut record = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
    record.extend(checksum(payload).to_le_bytes());
    record.extend(payload);
    record
}

/// Returns the records up to the first bad one, and where it begins.
pub fn decode(mut data: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let (mut records, whole) = (Vec::new(), data.len());
    while let Some((head, rest)) = data.split_first_chunk::<8>() {
        let length = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        let sum = u32::from_le_bytes(head[4..].try_into().unwrap());
        match rest.split_at_checked(length) {
            // A hole of zeros is no record.
            Some((payload, after)) if length > 0 && checksum(payload) == sum => {
                records.push(payload.to_vec());
                data = after;
            }
            _ => break,
        }
    }
    (records, whole - data.len())
}

/// Opens a log, cuts off what is no record, and returns its records.
pub async fn recover(path: &Path) -> Result<(AppendFile, Vec<Vec<u8>>), FileError> {
    let file = files::append_to(path).await?;
    let data = files::read(path).await?;
    let (records, valid) = decode(&data);
    if valid < data.len() {
        file.truncate(valid as u64).await?;
    }
    // Records that were read are promised to others: they have to be durable.
    file.sync().await?;
    Ok((file, records))
}

/// CRC-32 (IEEE).
fn checksum(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[test]
fn the_checksum_is_that_of_the_standard() {
    assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
}
