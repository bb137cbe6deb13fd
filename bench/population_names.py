# ruff: noqa: E501 - tables of names
"""Names of the generated people, by origin: frequent ones as they are, and syllables that make the long tail of rare ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """Where names come from. `start`, `middle` and `end` make rare family names, `given_end` rare given names."""

    families: tuple[str, ...]
    women: tuple[str, ...]
    men: tuple[str, ...]
    start: tuple[str, ...]
    middle: tuple[str, ...]
    end: tuple[str, ...]
    particles: tuple[str, ...] = ()


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace("\n", " ").split(" "))


FRENCH = Origin(
    families=_words(
        "Martin Bernard Thomas Petit Robert Richard Durand Dubois Moreau Laurent Simon Michel Lefèbvre Leroy Roux David Bertrand Morel "
        "Fournier Girard Bonnet Dupont Lambert Fontaine Rousseau Vincent Muller Lefèvre Faure André Mercier Blanc Guérin Boyer Garnier "
        "Chevalier François Legrand Gauthier Garcia Perrin Robin Clément Morin Nicolas Henry Roussel Mathieu Gautier Masson Marchand "
        "Duval Denis Dumont Marie Lemaire Noël Meyer Dufour Meunier Brun Blanchard Giraud Joly Rivière Lucas Brunet Gaillard Barbier "
        "Arnaud Martinez Gérard Roche Renard Schmitt Roy Leroux Colin Vidal Caron Picard Roger Fabre Aubert Lemoine Renaud Dumas Lacroix "
        "Olivier Philippe Bourgeois Pierre Benoît Rey Leclerc Payet Rolland Leclercq Guillaume Lecomte Lopez Jean Dupuy Guillot Hubert "
        "Berger Carpentier Sanchez Dupuis Moulin Louis Deschamps Huet Vasseur Perez Boucher Fleury Royer Klein Jacquet Adam Paris Poirier "
        "Marty Aubry Guyot Carré Charles Renault Charpentier Ménard Maillard Baron Bertin Bailly Hervé Schneider Fernandez Collet Léger"
    ),
    women=_words(
        "Marie Jeanne Françoise Monique Catherine Nathalie Isabelle Jacqueline Anne Sylvie Martine Madeleine Nicole Suzanne Hélène Christine "
        "Marguerite Denise Louise Christiane Yvonne Valérie Sophie Sandrine Stéphanie Céline Chantal Patricia Anne-Marie Simone Brigitte Julie "
        "Aurélie Laurence Véronique Emma Léa Manon Chloé Camille Inès Jade Louna Alice Lina Léonie Mila Rose Anna Ambre Romane Lucie Margaux "
        "Élise Clara Clémence Marie-Thérèse Marie-Louise Anne-Sophie Marie-Claude Lilou Zoé Lola Agathe Juliette Éva Pauline Mathilde Laura "
        "Marion Élodie Émilie Mélanie Caroline Virginie Delphine Karine Corinne Michèle Odette Colette Josiane Ginette Solange Annick Maryse"
    ),
    men=_words(
        "Jean Pierre Michel André Philippe René Louis Alain Jacques Bernard Marcel Daniel Roger Robert Paul Claude Christian Henri Georges Nicolas "
        "François Patrick Gérard Christophe Joseph Julien Maurice Laurent Frédéric Éric David Stéphane Pascal Sébastien Alexandre Thierry Olivier "
        "Jean-Pierre Jean-Claude Jean-Luc Jean-Baptiste Jean-Marc Jean-François Jean-Paul Jean-Michel Thomas Antoine Guillaume Maxime Lucas Hugo "
        "Louis Gabriel Arthur Jules Adam Raphaël Léo Nathan Ethan Paul Tom Noah Théo Mathis Enzo Clément Baptiste Quentin Romain Benjamin Vincent "
        "Mathieu Kévin Jérémy Anthony Florian Alexis Valentin Dylan Yann Loïc Gaël Cédric Fabrice Didier Serge Gilles Yves Guy Francis Lucien"
    ),
    start=_words(
        "Bar Beau Ber Blan Bois Bou Bru Cha Char Cho Clé Col Cor Cou Cré Del Der Do Du Fa Fer Flo Fou Gar Gau Gi Gou Gré Gué Ha Hu Ja Jou La "
        "Lan Le Lou Mai Mar Mau Mé Mo Mou Na Pa Pé Pi Pla Poi Pra Qué Ra Ré Ri Ro Sa Sau Sé Ta Té Tou Va Vau Ver Vi Vil"
    ),
    middle=_words(
        "ba bi bou che chi co cu da de di fe ga ge gni go la le li lo lu ma me mi mo na ni no pa pe pi ra re ri ro se si ta te ti to va vi"
    ),
    end=_words(
        "ard aud ault eau et ier ière in land lin lot mont neau net nier not on ot ou oux rand rat rel ret reuil rier rin ron rot sson tel tier ville"
    ),
    particles=_words("Le Le La De Du Des Saint D'"),
)
MAGHREB = Origin(
    families=_words(
        "Benali Saïdi Bouazza Mansouri Haddad Belkacem Cherif Amrani Bensaïd Toumi Khelifi Hamdi Brahimi Ziani Rahmani Bouzid Meziane Slimani "
        "Benamar Mokhtari Ouali Chaouch Belhadj Boudjema Ferhat Guerfi Hadjadj Kaci Laribi Mebarki Nasri Ouahab Rezgui Sahraoui Taleb Yahiaoui "
        "Zerrouki Bennani Alaoui Idrissi Tazi Fassi Berrada Chraïbi Lahlou Benjelloun Naciri Filali Ghazi Jaziri Trabelsi Gharbi Ayari Dridi"
    ),
    women=_words(
        "Fatima Khadija Aïcha Samira Nadia Leïla Yasmine Amina Malika Zohra Naïma Karima Rachida Souad Houda Imane Sarah Meriem Salma Nour Lina "
        "Inès Sofia Hanane Latifa Farida Djamila Fatiha Zineb Asma Siham Ghania Nawel Kenza Rania Wafa Hafida Saliha Dounia Ikram"
    ),
    men=_words(
        "Mohamed Ahmed Ali Youssef Karim Rachid Saïd Omar Hassan Ibrahim Mustapha Abdelkader Mehdi Yassine Bilal Samir Nabil Khaled Farid Hamza Ayoub "
        "Rayan Adam Amine Walid Tarek Sofiane Djamel Kamel Brahim Hocine Lakhdar Abdallah Abderrahmane Anis Ilyes Nassim Riad Zakaria Mourad"
    ),
    start=_words("Bel Ben Bou Cha Dje El Fe Gha Gue Ha Ham Kha Kha La Ma Mec Me Mes Na Oul Ra Sa Se Sli Ta Ti You Za Ze Zou"),
    middle=_words("ba bda cha dda ha hla ka kha la lla ma mma na ra ri ssa ta te zza"),
    end=_words("bi d di dine fi ni oui li ma mi na oun ri ssi t ti zi"),
    particles=_words("Ben El Aït Bou Ould Al"),
)
PORTUGUESE = Origin(
    families=_words(
        "Silva Santos Ferreira Pereira Oliveira Costa Rodrigues Martins Jesus Sousa Fernandes Gonçalves Gomes Lopes Marques Alves Almeida Ribeiro Pinto "
        "Carvalho Teixeira Moreira Correia Mendes Nunes Soares Vieira Monteiro Cardoso Rocha Neves Coelho Cruz Cunha Pires Ramos Reis Simões Antunes"
    ),
    women=_words(
        "Maria Ana Isabel Teresa Paula Sandra Cristina Carla Sónia Rosa Helena Fernanda Manuela Beatriz Inês Mariana Joana Leonor Matilde Lurdes Conceição"
    ),
    men=_words(
        "José António João Manuel Carlos Paulo Luís Pedro Francisco Fernando Rui Jorge Nuno Tiago Ricardo Miguel Diogo Duarte Vasco Joaquim Américo"
    ),
    start=_words("Al Bar Bra Ca Cas Fi Fon Gui La Li Ma Me Mo Na No Pa Pe Que Ra Sal Ta Va Vi"),
    middle=_words("bei ca co da de ga lei li lo ma mo na nhei ra rei ro ta va"),
    end=_words("ães ão da do gues lho nho nte ra res ro sa ta va zes"),
    particles=_words("da dos de do"),
)
TURKISH = Origin(
    families=_words(
        "Yılmaz Kaya Demir Şahin Çelik Yıldız Yıldırım Öztürk Aydın Özdemir Arslan Doğan Kılıç Aslan Çetin Kara Koç Kurt Özkan Şimşek Polat Korkmaz"
    ),
    women=_words(
        "Fatma Ayşe Emine Hatice Zeynep Elif Meryem Şerife Sultan Hanife Merve Özlem Esra Büşra Derya Gülsüm Sevgi Yasemin"
    ),
    men=_words(
        "Mehmet Mustafa Ahmet Ali Hüseyin Hasan İbrahim İsmail Osman Yusuf Murat Ömer Ramazan Emre Burak Can Serkan Hakan Fatih Kemal"
    ),
    start=_words("Ak Al Ar Bay Bal Ka Kara Kır Öz Sa Ta Te Tok Tu Yal Ya"),
    middle=_words("ba de do ka la lı ma ra sa ta tu"),
    end=_words("can daş dağ demir er han kan kaya lı man oğlu sel soy tan türk"),
)
ASIAN = Origin(
    families=_words(
        "Nguyen Tran Le Pham Huynh Hoang Phan Vu Vo Dang Bui Do Ho Ngo Duong Ly Wang Li Zhang Liu Chen Yang Huang Zhao Wu Zhou Xu Sun Lin Kim Park Lee"
    ),
    women=_words("Thi Mai Lan Linh Hoa Huong Ngoc Phuong Trang Thuy Anh Hui Mei Xiu Ying Li Yan Min-Ji Soo Jin"),
    men=_words("Van Minh Duc Thanh Tuan Hung Long Nam Quang Khanh Hai Wei Jun Ming Lei Feng Bo Tao Min-Ho Sung"),
    start=_words("Ba Chu Di Gao Han Jia Khu Lu Mao Ni Ong Pan Qi Ru Sha Tan Ung Vi Xie Yu Zhu"),
    middle=_words("a e i o u an en"),
    end=_words("n ng o i u y"),
)
ENGLISH = Origin(
    families=_words(
        "Smith Jones Taylor Brown Williams Wilson Johnson Davies Patel Robinson Wright Thompson Evans Walker White Roberts Green Hall Thomas Clarke Jackson "
        "Wood Harris Edwards Turner Martin Cooper Hill Ward Hughes Moore Clark King Harrison Lewis Baker Lee Allen Morris Khan Scott Watson Davis Parker James "
        "O'Brien Murphy Kelly Ryan O'Connor Walsh McCarthy Doyle Gallagher Kennedy MacDonald Campbell Stewart Fraser Murray Reid Ross"
    ),
    women=_words(
        "Margaret Susan Katherine Elizabeth Sarah Jennifer Patricia Linda Barbara Rebecca Victoria Samantha Deborah Christine Emily Olivia Charlotte Sophie Jessica "
        "Emma Lucy Amy Hannah Chloe Grace Lily Ella Freya Isla Alexandra Abigail Madeleine Nicola Pamela"
    ),
    men=_words(
        "David John Michael Robert William James Richard Thomas Christopher Edward Andrew Stephen Anthony Matthew Daniel Joseph Benjamin Samuel Nicholas Alexander "
        "Jonathan Timothy Gregory Frederick Charles George Oliver Jack Harry Jacob Alfie Joshua Patrick Kenneth Ronald"
    ),
    start=_words(
        "Ash Bar Bex Black Bram Brook Carl Chad Cliff Cot Dal Dun Ed Far Ford Gar Glen Had Hart Hol Kings Lang Mar Nor Oak Pen Pres Red Rad Sed Shel Stan Thorn Wal Wes Wim Win"
    ),
    middle=_words("a bur der e en field ing ling ming ner ring ter"),
    end=_words("by combe cott den field ford ham ley man more ridge shaw son stead ston ter ton ward well wick wood worth"),
    particles=_words("Mc Mac O'"),
)
#: Pet and short forms that establishments write down, of some names; not all of them stand in the table of the rules.
SHORT_FORMS = {
    "Jean-Baptiste": ("JB", "Jean-Ba"),
    "Jean-Pierre": ("JP",),
    "Jean-Claude": ("JC",),
    "Jean-François": ("JF", "Jeff"),
    "Jean-Marc": ("JM",),
    "Alexandre": ("Alex",),
    "Alexandra": ("Alex", "Sandra"),
    "Alexis": ("Alex",),
    "Catherine": ("Cathy", "Katherine"),
    "Katherine": ("Kate", "Kathy", "Catherine"),
    "Christophe": ("Chris", "Tof"),
    "Christine": ("Chris", "Kristine"),
    "Frédéric": ("Fred",),
    "Nicolas": ("Nico",),
    "Sébastien": ("Seb", "Bastien"),
    "Benjamin": ("Ben",),
    "Nathalie": ("Nath", "Natalie"),
    "Véronique": ("Véro",),
    "Isabelle": ("Isa", "Isabel"),
    "Caroline": ("Caro",),
    "Stéphanie": ("Steph", "Stefanie"),
    "Mathieu": ("Matthieu", "Mat"),
    "Guillaume": ("Guigui",),
    "Maxime": ("Max",),
    "Antoine": ("Tony", "Toinou"),
    "Anthony": ("Antony", "Tony"),
    "Mohamed": ("Mohammed", "Med", "Mohammad"),
    "Youssef": ("Youcef", "Yusuf"),
    "Fatima": ("Fatma", "Fatiha"),
    "Mustapha": ("Mostafa", "Moustapha"),
    "Aïcha": ("Aisha", "Ayesha"),
    "Khadija": ("Khadidja",),
    "Elizabeth": ("Liz", "Beth", "Betty"),
    "William": ("Bill", "Will", "Billy"),
    "Robert": ("Bob", "Rob"),
    "Richard": ("Dick", "Rick"),
    "Margaret": ("Maggie", "Peggy"),
    "Michael": ("Mike",),
    "Thomas": ("Tom",),
    "Edward": ("Ted", "Ed"),
    "Susan": ("Sue", "Suzie"),
    "Deborah": ("Debbie",),
    "Victoria": ("Vicky",),
    "Samantha": ("Sam",),
    "Samuel": ("Sam",),
    "Jennifer": ("Jenny", "Jen"),
    "Daniel": ("Dan", "Danny"),
    "Stephen": ("Steve", "Steven"),
    "Joseph": ("Joe",),
    "Andrew": ("Andy",),
    "Christopher": ("Chris",),
    "Manuel": ("Manu",),
    "José": ("Zé",),
    "Francisco": ("Chico", "Paco"),
    "Mehmet": ("Memo",),
    "Patricia": ("Pat", "Trish"),
    "Jacqueline": ("Jackie",),
    "Madeleine": ("Mado", "Maddie"),
    "Thierry": ("Titi",),
}
