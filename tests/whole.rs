//! What concerns an instance as a whole: going through it, deleting by tags, backups, calling work off.

use lookalike::{Add, Source};

use crate::bed::{Bed, Random};

#[test]
fn images_come_in_the_order_they_were_added() {
    // Segments with lists, a segment without, a tail; replaced and deleted ones.
    let bed = Bed::with(|builder| builder.tail_rows(64).train_rows(200));
    let instance = bed.shoes();
    let mut random = Random(11);
    let mut want: Vec<(String, Option<String>)> = Vec::new();
    for i in 0..500u32 {
        let (path, color) = (format!("p{i:03}"), format!("c{}", i % 5));
        let vector = random.vector(4);
        instance.add(&Add::new(path.clone(), Source::vector(vector)).tag("color", &color)).unwrap();
        want.push((path, Some(color)));
    }
    assert!(instance.stats().unwrap().lists > 0, "no lists");
    for i in (0..500).step_by(7) {
        let again = Add::new(want[i].0.clone(), Source::vector(random.vector(4))).tag("color", "new");
        instance.add(&again).unwrap();
        want[i].1 = Some("new".to_owned());
    }
    let reader = instance.reader().unwrap();
    let mut count = 0;
    let mut position = 0;
    want.retain(|(path, _)| {
        position += 1;
        let keep = position % 11 != 0;
        if !keep {
            instance.delete(path).unwrap();
            count += 1;
        }
        keep
    });
    assert!(count > 40);
    let all = |images: lookalike::Images| -> Vec<(String, Option<String>)> {
        let images = images.map(|image| image.unwrap());
        images.map(|i| (i.path, i.tags.get("color").map(|values| values.concat()))).collect()
    };
    assert_eq!(all(instance.iter().unwrap()), want);
    // The reader's state is as it was.
    assert_eq!(reader.iter().unwrap().size_hint(), (0, Some(500)));
    assert_eq!(all(reader.iter().unwrap()).len(), 500);
    instance.optimize().unwrap();
    assert_eq!(all(instance.iter().unwrap()), want);
    drop(reader);

    // Damage ends it with an error, not with fewer images.
    let file = bed.file("seg-");
    drop(instance);
    let at = crate::bed::find(&file, b"p123");
    crate::bed::flip(&file, at);
    let instance = bed.gallery.instance("shoes").unwrap();
    let last = instance.iter().unwrap().last().unwrap();
    assert!(last.unwrap_err().is_corruption());
}
