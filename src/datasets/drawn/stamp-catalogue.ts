/**
 * Which photographs and recordings of the Tux Paint stamps (Debian's `tuxpaint-stamps-default`) make which class. A
 * name stands for `NAME.png` and `NAME.ogg` under the stamps' folder.
 */

/** Classes of the training set, each with its own looks and sounds. */
export const heardClasses: Readonly<Record<string, readonly string[]>> = {
  frog: ["animals/amphibians/frog"],
  rooster: ["animals/birds/rooster"],
  owl: ["animals/birds/owl"],
  penguin: ["animals/birds/penguin"],
  toucan: ["animals/birds/tucan"],
  seagull: ["animals/birds/seagull"],
  duck: ["animals/birds/duck", "animals/birds/drake"],
  gorilla: ["animals/mammals/apes/gorilla"],
  dolphin: ["animals/mammals/aquatic/dolphin"],
  orca: ["animals/mammals/aquatic/orca"],
  cow: ["animals/mammals/bovines/cow", "animals/mammals/bovines/cow_white"],
  sheep: ["animals/mammals/bovines/sheep", "animals/mammals/bovines/sheep_lamb"],
  tiger: ["animals/mammals/cats/tiger"],
  dog: ["animals/mammals/dogs/dog"],
  elephant: ["animals/mammals/elephant"],
  horse: ["animals/mammals/equines/horse"],
  zebra: ["animals/mammals/equines/zebra"],
  pig: ["animals/mammals/pig", "animals/mammals/pig_golden", "animals/mammals/pig_golden2"],
  grasshopper: ["animals/insects/grasshopper"],
  "drum kit": ["hobbies/music/percussion/drumkit"],
  violin: ["hobbies/music/string/violin"],
  "fire engine": ["vehicles/emergency/firetruck"],
};

/** Classes that training never uses. */
export const unheardClasses: Readonly<Record<string, readonly string[]>> = {
  turkey: ["animals/birds/turkey"],
  crow: ["animals/birds/crow"],
  bear: ["animals/mammals/bears/bear"],
  lion: ["animals/mammals/cats/lion"],
  chimpanzee: ["animals/mammals/apes/chimp"],
  camel: ["animals/mammals/camel/camel", "animals/mammals/camel/dromedary"],
  deer: ["animals/mammals/deer/deer", "animals/mammals/deer/doe"],
  "crash cymbal": ["hobbies/music/percussion/cymbal_crash"],
};

/** Photographs of objects that make no sound. */
export const silentObjects: readonly string[] = [
  "food/fruit/cherimoya",
  "food/fruit/kiwi",
  "food/fruit/mandarine",
  "food/vegetables/broccoli",
  "hobbies/binoculars",
  "household/dishes/mug",
  "household/dishes/pitcher_small",
  "household/home_compost_bin",
  "household/tools/toolbox",
  "plants/flowers/anemone_red",
  "plants/flowers/daffodil",
  "plants/flowers/marigold",
  "plants/mushrooms/cep",
  "plants/trees/holm_oak",
  "sports/basketball",
  "sports/soccer",
  "town/monuments/inukshuk-photo",
  "town/roadsigns/traffic_cone",
  "vehicles/wheel_tractor",
];

/** Photographs without objects of the classes: Tux Paint's templates and MATE's nature backgrounds. */
export const backgrounds = {
  train: [
    "templates/burnt_bark.jpg",
    "templates/corn_maze.jpg",
    "templates/lighthouse.jpg",
    "templates/mossy_bark.jpg",
    "templates/mudstone.jpg",
    "templates/ocean_splash.jpg",
    "templates/redwoods_above.jpg",
    "templates/rocks.jpg",
    "templates/sun_behind_clouds.jpg",
    "templates/trees_above.jpg",
    "templates/wool_mill_machine.jpg",
    "nature/Aqua.jpg",
    "nature/Dune.jpg",
    "nature/Garden.jpg",
    "nature/RainDrops.jpg",
    "nature/Storm.jpg",
    "nature/Wood.jpg",
    "nature/YellowFlower.jpg",
  ],
  test: [
    "templates/cliff.jpg",
    "templates/mossy_log.jpg",
    "templates/ocean_waves.jpg",
    "templates/sun_behind_leaves.jpg",
    "templates/trees_at_dusk.jpg",
    "nature/Blinds.jpg",
    "nature/FreshFlower.jpg",
    "nature/GreenMeadow.jpg",
  ],
} as const;
